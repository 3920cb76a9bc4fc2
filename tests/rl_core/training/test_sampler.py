from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_core.training.sampler import problems_at


def drawn(steps: int, num_prompts: int, num_problems: int, *, seed: int = 0, stage: int = 0) -> list[int]:
    return [
        index
        for position in range(0, steps * num_prompts, num_prompts)
        for index in problems_at(position, num_prompts, num_problems=num_problems, seed=seed, stage=stage)
    ]


@given(st.integers(1, 12), st.integers(0, 20), st.integers(0, 3))
def test_every_problem_comes_once_in_every_epoch(num_prompts: int, more: int, seed: int) -> None:
    num_problems = num_prompts + more
    order = drawn(3 * num_problems, num_prompts, num_problems, seed=seed)
    for start in range(0, len(order) - num_problems, num_problems):
        assert sorted(order[start : start + num_problems]) == list(range(num_problems))


def test_a_step_across_two_epochs_takes_the_rest_of_one_and_the_beginning_of_the_next() -> None:
    order = drawn(10, 4, 10)
    assert len(problems_at(8, 4, num_problems=10, seed=0, stage=0)) == 4
    assert order[8:12] == problems_at(8, 4, num_problems=10, seed=0, stage=0)
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20]


@given(st.integers(1, 12), st.integers(0, 30), st.integers(0, 3))
def test_kept_apart_no_problem_comes_twice_in_a_row_of_so_many(apart: int, more: int, seed: int) -> None:
    num_problems = apart + more
    order = [
        problems_at(position, 1, num_problems=num_problems, seed=seed, stage=0, apart=apart)[0]
        for position in range(4 * num_problems)
    ]
    for start in range(len(order) - apart + 1):
        assert len(set(order[start : start + apart])) == apart
    for start in range(0, len(order), num_problems):
        assert sorted(order[start : start + num_problems]) == list(range(num_problems))
    assert order[:num_problems] == drawn(num_problems, 1, num_problems, seed=seed)


def test_the_order_stays_where_nothing_comes_too_soon() -> None:
    before = problems_at(998, 4, num_problems=1000, seed=0, stage=0)
    assert problems_at(998, 4, num_problems=1000, seed=0, stage=0, apart=4) == before


def test_a_step_has_its_problems_whatever_was_asked_before() -> None:
    order = drawn(8, 3, 7)
    assert problems_at(15, 3, num_problems=7, seed=0, stage=0) == order[15:18]


def test_seed_and_stage_each_change_the_order() -> None:
    orders = [drawn(5, 4, 20, seed=seed, stage=stage) for seed in (0, 1) for stage in (0, 1)]
    assert all(Counter(order) == Counter(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_fewer_problems_than_a_step_needs_are_refused() -> None:
    with pytest.raises(ValueError, match="3 problems are fewer than the 4 of one step"):
        problems_at(0, 4, num_problems=3, seed=0, stage=0)
