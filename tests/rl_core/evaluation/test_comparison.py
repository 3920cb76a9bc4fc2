"""Two models on the same problems: values worked out by hand, and what intervals and tests promise, by simulation."""

from math import sqrt

import numpy as np
import pytest

from rl_core.evaluation.comparison import Comparison, Row, compare

TOLERANCE = 1e-12
Z = 1.959963984540054


def rows(correct: list[int], scored: int | list[int] = 4, first: int = 0) -> list[Row]:
    counts = [scored] * len(correct) if isinstance(scored, int) else scored
    return [
        {"index": first + i, "problem": f"problem {first + i}", "num_correct": c, "num_scored": n}
        for i, (c, n) in enumerate(zip(correct, counts, strict=True))
    ]


def test_the_difference_is_the_mean_over_the_problems_of_both() -> None:
    comparison = compare(rows([0, 1, 2, 4]), rows([2, 1, 4, 3]))
    # Differences 1/2, 0, 1/2, -1/4.
    assert comparison.difference == pytest.approx(0.1875, abs=TOLERANCE)
    assert (comparison.num_problems, comparison.num_left_out) == (4, 0)
    assert comparison.low < 0.1875 < comparison.high


def test_one_problem_by_hand() -> None:
    comparison = compare(rows([1]), rows([3]))
    # Of 4 right among 8 samples, B's share k has chance C(4,k) C(4,4-k) / C(8,4): 1, 16, 36, 16, 1 of 70.
    assert comparison.p_better == pytest.approx(17 / 70, abs=TOLERANCE)
    assert comparison.p_worse == pytest.approx(69 / 70, abs=TOLERANCE)
    # Rates 1.5/5 and 3.5/5: both vary by 0.21, over 4 samples each.
    half = Z * sqrt(2 * 0.21 / 4)
    assert comparison.low_here == pytest.approx(0.5 - half, abs=TOLERANCE)
    assert comparison.high_here == pytest.approx(0.5 + half, abs=TOLERANCE)


def test_two_problems_of_different_numbers_of_samples_by_hand() -> None:
    # 1 right of 1 + 1 samples: B has it in half of the cases. 1 right of 1 + 2: B has it in two thirds.
    comparison = compare(rows([0, 0], [1, 1]), rows([1, 1], [1, 2]))
    assert comparison.p_better == pytest.approx(1 / 2 * 2 / 3, abs=TOLERANCE)
    assert comparison.p_worse == pytest.approx(1, abs=TOLERANCE)


def test_a_model_against_itself_is_no_difference() -> None:
    comparison = compare(rows([0, 1, 2, 4]), rows([0, 1, 2, 4]))
    assert (comparison.difference, comparison.distinguishable, comparison.samples_needed) == (0, False, None)
    assert comparison.sentence.startswith("+0.0 points, ")
    assert "no difference was seen" in comparison.sentence


def test_exchanging_the_models_exchanges_everything() -> None:
    one, other = compare(rows([0, 1, 2, 4]), rows([2, 1, 4, 3])), compare(rows([2, 1, 4, 3]), rows([0, 1, 2, 4]))
    assert one.difference == -other.difference
    assert (one.p_worse, one.p_better) == pytest.approx((other.p_better, other.p_worse), abs=TOLERANCE)
    assert (one.low_here, one.high_here) == pytest.approx((-other.high_here, -other.low_here), abs=TOLERANCE)
    assert one.samples_needed == other.samples_needed


def test_problems_that_cannot_be_paired_are_counted() -> None:
    comparison = compare(rows([1, 2, 3]), [*rows([4], first=2), *rows([0], 0, first=1), *rows([1], first=7)])
    assert (comparison.num_problems, comparison.num_left_out) == (1, 3)
    assert comparison.difference == pytest.approx(0.25, abs=TOLERANCE)


def test_other_problems_under_the_same_numbers_are_refused() -> None:
    other = [{**row, "problem": "something else"} for row in rows([1, 2])]
    with pytest.raises(ValueError, match="problem 0 is another one in each"):
        compare(rows([1, 2]), other)
    with pytest.raises(ValueError, match="no problem with a scored sample of both"):
        compare(rows([1, 2]), rows([1, 2], first=5))


def test_the_sentence_says_how_many_samples_would_do() -> None:
    comparison = compare(*simulated(np.random.default_rng(3), problems=30, samples=16, gain=0.03, between=0.0))
    assert not comparison.distinguishable
    assert comparison.samples_needed is not None
    assert comparison.samples_needed > 16
    assert comparison.sentence.endswith(f": not distinguishable with n=16; n={comparison.samples_needed} would be")


def test_the_sentence_says_where_no_number_of_samples_would_do() -> None:
    comparison = compare(rows([0, 0, 0, 0, 4, 4, 4, 0]), rows([4, 4, 4, 4, 0, 0, 0, 4]))
    assert comparison.samples_needed is None
    assert comparison.problems_needed is not None
    assert comparison.problems_needed > 8
    assert f"no n would be on 8 problems, which differ too much from each other; {comparison.problems_needed}" in (
        comparison.sentence
    )
    assert comparison.low_here > 0  # which on these very problems is no chance: more were gained than lost
    assert "beyond the chance of sampling" in comparison.sentence_here


@pytest.mark.parametrize(("right", "enough"), [(16, 4), (8, 8), (-16, 4)])
def test_where_more_samples_would_not_help_the_sentence_names_problems(right: int, enough: int) -> None:
    """Every problem has the same difference d: the interval leaves zero out past z^2 / |d| = 3.84 / |d| problems."""

    def compared(problems: int) -> Comparison:
        some, none = rows([abs(right)] * problems, 16), rows([0] * problems, 16)
        return compare(none, some) if right > 0 else compare(some, none)

    few = compared(3) if enough == 4 else compared(7)
    assert few.sentence.endswith(f"not distinguishable with n=16; {enough} problems like these at n=16 would be")
    assert compared(enough).distinguishable


def test_one_sample_a_problem_says_nothing_of_its_variance() -> None:
    comparison = compare(rows([0, 1, 0, 1, 0], 1), rows([1, 1, 0, 0, 1], 1))
    assert comparison.spread.within is None
    assert "not known where a problem is sampled once" in comparison.sentence


def test_as_json_holds_what_a_reader_needs() -> None:
    values = compare(rows([0, 1, 2, 4]), rows([2, 1, 4, 3])).as_json()
    assert {"difference", "low", "high", "p_worse", "samples_needed", "sentence", "sentence_here"} <= values.keys()


REPETITIONS = 250
ERROR = 4 * sqrt(0.05 * 0.95 / REPETITIONS)  # four standard errors of a share near 5 %, or near 95 %


def test_the_test_calls_an_equal_model_worse_no_more_often_than_it_says() -> None:
    draw = np.random.default_rng(1)
    found = [compare(*simulated(draw, problems=30, samples=8, gain=0.0, between=0.0)) for _ in range(REPETITIONS)]
    share = np.mean([comparison.p_worse <= 0.05 for comparison in found])
    assert share <= 0.05 + ERROR
    assert share > 0.005  # a test that never speaks would keep its promise too


def test_the_intervals_cover_what_they_are_of() -> None:
    draw = np.random.default_rng(2)
    over_problems, here = [], []
    for _ in range(REPETITIONS):
        rates_a, rates_b = rates(draw, problems=40, gain=0.08, between=0.15)
        comparison = compare(sampled(draw, rates_a, 8), sampled(draw, rates_b, 8))
        here.append(comparison.low_here <= (rates_b - rates_a).mean() <= comparison.high_here)
        over_problems.append(comparison.low <= EXPECTED_GAIN <= comparison.high)
    assert abs(np.mean(over_problems) - 0.95) < ERROR
    assert abs(np.mean(here) - 0.95) < ERROR


def test_with_as_many_samples_as_it_asks_for_a_difference_is_seen_four_times_of_five() -> None:
    draw = np.random.default_rng(3)
    rates_a = draw.uniform(0.2, 0.7, 60)
    rates_b = rates_a + 0.06  # the same on every problem: samples alone hide it
    asked = [seen(draw, rates_a, rates_b, 8).samples_needed for _ in range(60)]
    needed = int(np.median([number for number in asked if number is not None]))
    share = np.mean([seen(draw, rates_a, rates_b, needed).low > 0 for _ in range(200)])
    assert abs(share - 0.8) < 4 * sqrt(0.8 * 0.2 / 200)


EXPECTED_GAIN = 0.08


def rates(draw: np.random.Generator, *, problems: int, gain: float, between: float) -> tuple[np.ndarray, np.ndarray]:
    """How often each model really solves each problem: within 0 and 1 without clipping, so that `gain` is the mean."""
    before = draw.uniform(0.3, 0.6, problems)
    return before, before + gain + draw.uniform(-1, 1, problems) * between


def sampled(draw: np.random.Generator, share: np.ndarray, samples: int) -> list[Row]:
    return rows(draw.binomial(samples, share).tolist(), samples)


def simulated(
    draw: np.random.Generator, *, problems: int, samples: int, gain: float, between: float
) -> tuple[list[Row], list[Row]]:
    before, after = rates(draw, problems=problems, gain=gain, between=between)
    return sampled(draw, before, samples), sampled(draw, after, samples)


def seen(draw: np.random.Generator, rates_a: np.ndarray, rates_b: np.ndarray, samples: int) -> Comparison:
    return compare(sampled(draw, rates_a, samples), sampled(draw, rates_b, samples))
