import pytest

from rl_core.rollout.concurrency import tail_fraction
from rl_core.types import Completion


def responses(*spans: tuple[float, float]) -> list[Completion]:
    return [Completion([1], [0.0], "stop", 0, start, end) for start, end in spans]


def test_time_in_which_one_of_four_is_left_is_tail() -> None:
    # Four until 2 s, two (half of the peak: not yet tail) until 5 s, one until 8 s.
    assert tail_fraction(responses((0, 2), (0, 2), (0, 5), (0, 8))) == pytest.approx(3 / 8)


def test_a_slow_start_counts_as_well() -> None:
    assert tail_fraction(responses((0, 4), (1, 4), (1, 4))) == pytest.approx(1 / 4)


def test_responses_that_follow_each_other_are_no_tail() -> None:
    assert tail_fraction(responses((0, 1), (1, 2), (2, 3))) == 0


def test_nothing_and_no_time_have_no_tail() -> None:
    assert tail_fraction([]) == 0
    assert tail_fraction(responses((1, 1), (1, 1))) == 0
