"""How many samples a difference needs: by hand, and by putting the answer back into the formula."""

from math import sqrt

import numpy as np
import pytest

from rl_core.evaluation.power import Spread, detectable_difference, problems_needed, samples_needed, spread_of

TOLERANCE = 1e-12
QUANTILES_OF_30 = 2.04523 + 0.84162  # Student's t of 29 degrees of freedom, 97.5 %; normal, 80 %


def test_the_parts_of_the_variance_by_hand() -> None:
    spread = spread_of(*(np.array(column, float) for column in ([1, 2], [4, 4], [3, 2], [4, 4])))
    # Rates 1/4, 1/2 and 3/4, 1/2: p (1 - p) 4/3 is 1/4, 1/3 and 1/4, 1/3.
    assert spread.within == pytest.approx((1 / 4 + 1 / 4 + 1 / 3 + 1 / 3) / 2, abs=TOLERANCE)
    # Differences 1/2 and 0 have the variance 1/8; noise is 7/12 / 4, more than that.
    assert spread.observed == pytest.approx(1 / 8, abs=TOLERANCE)
    assert spread.between == 0


def test_what_is_not_noise_is_between_problems() -> None:
    spread = spread_of(*(np.array(column, float) for column in ([0, 4], [4, 4], [4, 0], [4, 4])))
    assert spread == Spread(between=2.0, within=0.0, observed=2.0)  # differences 1 and -1


def test_as_many_samples_as_the_formula_asks_for() -> None:
    spread = Spread(between=0.0, within=0.4, observed=None)
    # 0.4 / n / 30 = (0.05 / 2.88685)^2
    assert samples_needed(spread, 0.05, 30) == int(np.ceil(0.4 / (30 * (0.05 / QUANTILES_OF_30) ** 2)))
    assert samples_needed(spread, -0.05, 30) == samples_needed(spread, 0.05, 30)


def test_between_problems_there_is_a_wall() -> None:
    wall = 30 * (0.05 / QUANTILES_OF_30) ** 2
    assert samples_needed(Spread(wall * 1.01, 0.4, None), 0.05, 30) is None
    close = samples_needed(Spread(wall * 0.9, 0.4, None), 0.05, 30)
    far = samples_needed(Spread(0.0, 0.4, None), 0.05, 30)
    assert close is not None
    assert far is not None
    assert close == pytest.approx(10 * far, rel=0.03)


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert samples_needed(Spread(0.0, None, 0.1), 0.05, 30) is None
    assert samples_needed(Spread(0.0, 0.4, None), 0.0, 30) is None
    assert samples_needed(Spread(0.0, 0.4, None), 0.05, 1) is None
    assert problems_needed(Spread(0.0, 0.4, None), 0.0, 16) is None
    assert detectable_difference(Spread(0.0, 0.4, None), 1, 16) is None


def test_the_detectable_difference_is_the_one_that_needs_what_there_is() -> None:
    spread = Spread(between=0.01, within=0.4, observed=None)
    least = detectable_difference(spread, 30, 16)
    assert least == pytest.approx(QUANTILES_OF_30 * sqrt((0.01 + 0.4 / 16) / 30), rel=1e-4)
    assert samples_needed(spread, least, 30) in (16, 17)  # rounded up
    assert problems_needed(spread, least, 16) in (30, 31)


def test_without_a_second_sample_problems_are_counted_by_what_was_observed() -> None:
    spread = spread_of(*(np.array(column, float) for column in ([0, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1])))
    assert spread == Spread(between=pytest.approx(1 / 3), within=None, observed=pytest.approx(1 / 3))
    needed = problems_needed(spread, 0.1, 1)
    assert needed is not None
    assert needed == pytest.approx((1 / 3) * (2.8016 / 0.1) ** 2, rel=0.02)
