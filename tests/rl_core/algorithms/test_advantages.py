"""Advantages within a group: by hand, in degenerate groups, and by their invariances."""

import math
from itertools import product
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.algorithms.advantages import Baseline, Scale, group_relative
from tests.rl_core.algorithms import oracles

BASELINES: tuple[Baseline, ...] = ("group_mean", "leave_one_out")
SCALES: tuple[Scale, ...] = ("group_std", "leave_one_out_std", "none", "informative_share")
CHOICES = list(product(BASELINES, SCALES))
NAN = math.nan
ROUNDING = 1e-12  # of float64


def advantages(rewards: list[float], baseline: Baseline, scale: Scale) -> list[float]:
    return group_relative(torch.tensor([rewards], dtype=torch.float64), baseline, scale)[0].tolist()


# Rewards 1, 0, 0, 3: mean 1, variance (0 + 1 + 1 + 4) / 3 = 2. Without the first, second or third, and fourth:
# means 1, 4/3 and 1/3; variances 3 (of 0, 0, 3), 7/3 (of 1, 0, 3) and 1/3 (of 1, 0, 0).
WORKED = {
    ("group_mean", "none"): [0, -1, -1, 2],
    ("group_mean", "group_std"): [0, -1 / math.sqrt(2), -1 / math.sqrt(2), math.sqrt(2)],
    ("group_mean", "leave_one_out_std"): [0, -math.sqrt(3 / 7), -math.sqrt(3 / 7), 2 * math.sqrt(3)],
    ("leave_one_out", "none"): [0, -4 / 3, -4 / 3, 8 / 3],
    ("leave_one_out", "group_std"): [0, -4 / 3 / math.sqrt(2), -4 / 3 / math.sqrt(2), 8 / 3 / math.sqrt(2)],
    ("leave_one_out", "leave_one_out_std"): [0, -4 / 3 * math.sqrt(3 / 7), -4 / 3 * math.sqrt(3 / 7), 8 / math.sqrt(3)],
    # Alone it is the one group of one that teaches something: weight 1.
    ("group_mean", "informative_share"): [0, -1, -1, 2],
    ("leave_one_out", "informative_share"): [0, -4 / 3, -4 / 3, 8 / 3],
}


@pytest.mark.parametrize(("baseline", "scale"), CHOICES)
def test_a_group_worked_out_by_hand(baseline: Baseline, scale: Scale) -> None:
    assert advantages([1, 0, 0, 3], baseline, scale) == pytest.approx(WORKED[baseline, scale], abs=ROUNDING)


@pytest.mark.parametrize(("baseline", "scale"), CHOICES)
def test_an_unscored_response_enters_no_statistic_and_has_no_advantage(baseline: Baseline, scale: Scale) -> None:
    expected = WORKED[baseline, scale]
    assert advantages([1, NAN, 0, 0, NAN, 3], baseline, scale) == pytest.approx(
        [expected[0], 0, expected[1], expected[2], 0, expected[3]], abs=ROUNDING
    )


@pytest.mark.parametrize(("baseline", "scale"), CHOICES)
@pytest.mark.parametrize("rewards", [[5.0], [NAN, 7.0, NAN], [NAN, NAN]], ids=["alone", "one scored", "none scored"])
def test_fewer_than_two_scored_responses_have_no_advantage(
    rewards: list[float], baseline: Baseline, scale: Scale
) -> None:
    assert advantages(rewards, baseline, scale) == [0.0] * len(rewards)


@pytest.mark.parametrize(("baseline", "scale"), CHOICES)
def test_equal_rewards_give_exactly_zero_also_where_their_mean_is_rounded(baseline: Baseline, scale: Scale) -> None:
    for count in (2, 3, 7, 16):
        assert advantages([0.1] * count, baseline, scale) == [0.0] * count


def test_where_only_the_others_agree_the_difference_is_left_undivided() -> None:
    assert advantages([1, 0, 0], "leave_one_out", "leave_one_out_std")[0] == 1.0
    assert advantages([1, 0], "leave_one_out", "leave_one_out_std") == [1.0, -1.0]


def cpgd_groups(num_informative: int) -> torch.Tensor:
    """Eight prompts of 16 responses: in some a quarter is right, of the others all is right, or wrong, or unscored."""
    informative = [1.0] * 4 + [0.0] * 12
    others = [[1.0] * 16, [0.0] * 16, [NAN] * 16, [NAN] * 15 + [1.0]]
    return torch.tensor([informative] * num_informative + [others[i % 4] for i in range(8 - num_informative)])


def test_cpgds_three_weights_of_eight_prompts_of_which_four_teach_something() -> None:
    rewards = cpgd_groups(4)
    differences = torch.tensor([0.75] * 4 + [-0.25] * 12)
    std = math.sqrt((4 * 0.75**2 + 12 * 0.25**2) / 15)
    for scale, weight in (("group_std", 1 / std), ("none", 1.0), ("informative_share", 8 / 4)):
        advantages = group_relative(rewards, "group_mean", scale)
        for group in advantages[:4]:
            torch.testing.assert_close(group, weight * differences)
        assert not advantages[4:].any()


@pytest.mark.parametrize(
    ("num_informative", "cap", "weight"), [(8, 3.0, 1.0), (4, 3.0, 2.0), (2, 3.0, 3.0), (1, 3.0, 3.0), (2, 5.0, 4.0)]
)
def test_the_informative_share_counts_prompts_and_is_bounded(num_informative: int, cap: float, weight: float) -> None:
    rewards = cpgd_groups(num_informative)
    advantages = group_relative(rewards, "group_mean", "informative_share", max_informative_weight=cap)
    assert advantages[0, 0].item() == pytest.approx(weight * 0.75)


def test_without_any_informative_prompt_the_share_weighs_nothing() -> None:
    rewards = cpgd_groups(0)
    assert not group_relative(rewards, "group_mean", "informative_share").any()
    assert torch.equal(group_relative(rewards, "none", "informative_share"), rewards.nan_to_num(0.0))


@pytest.mark.parametrize("rewards", [[0.5], [1.0, 1.0, 1.0], [NAN, 2.0, NAN], [NAN, NAN], [0.0, -3.0, NAN]])
def test_without_a_baseline_the_reward_itself_remains_also_where_nothing_differs(rewards: list[float]) -> None:
    assert advantages(rewards, "none", "none") == [0.0 if math.isnan(reward) else reward for reward in rewards]


def test_each_group_stands_for_itself() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 3.0], [1.0, 1.0, 1.0, 1.0], [NAN, 0.0, 2.0, NAN]])
    expected = torch.tensor([[0.0, -1.0, -1.0, 2.0], [0.0] * 4, [0.0, -1.0, 1.0, 0.0]])
    assert torch.equal(group_relative(rewards, "group_mean", "none"), expected)


def test_the_argument_is_left_as_it_was_and_its_dtype_kept() -> None:
    rewards = torch.tensor([[1.0, NAN, 0.0]])
    before = rewards.clone()
    assert group_relative(rewards, "leave_one_out", "group_std").dtype == torch.float32
    assert torch.equal(rewards.nan_to_num(-1), before.nan_to_num(-1))


scores = st.one_of(st.just(NAN), st.integers(-3, 3).map(float), st.floats(-2, 2, width=16))
groups = st.integers(1, 8).flatmap(lambda size: st.lists(st.lists(scores, min_size=size, max_size=size), min_size=1))


@given(groups, st.sampled_from(CHOICES), st.randoms(use_true_random=False))
def test_the_order_of_groups_and_of_responses_does_not_matter(
    rewards: list[list[float]], choice: tuple[Baseline, Scale], random: Random
) -> None:
    values = torch.tensor(rewards, dtype=torch.float64)
    rows = random.sample(range(values.shape[0]), values.shape[0])
    columns = random.sample(range(values.shape[1]), values.shape[1])
    expected = group_relative(values, *choice)[rows][:, columns]
    torch.testing.assert_close(group_relative(values[rows][:, columns], *choice), expected, rtol=1e-6, atol=1e-6)


# Quarters: where rewards differ at all, they differ by more than what counts as rounding.
quarters = st.one_of(st.just(NAN), st.integers(-8, 8).map(lambda number: number / 4))
groups_of_quarters = st.integers(1, 6).flatmap(
    lambda size: st.lists(st.lists(quarters, min_size=size, max_size=size), min_size=1, max_size=6)
)


@given(groups_of_quarters, st.sampled_from([*CHOICES, *product(("none",), SCALES)]), st.floats(1, 5))
def test_every_combination_is_the_one_written_out(
    rewards: list[list[float]], choice: tuple[Baseline, Scale], cap: float
) -> None:
    result = group_relative(torch.tensor(rewards, dtype=torch.float64), *choice, max_informative_weight=cap)
    for got, expected in zip(result.tolist(), oracles.group_advantages(rewards, *choice, cap), strict=True):
        assert got == pytest.approx(expected, abs=ROUNDING)


@given(groups, st.sampled_from(SCALES), st.integers(-5, 5))
def test_advantages_are_finite_sum_to_zero_about_the_mean_and_ignore_a_constant(
    rewards: list[list[float]], scale: Scale, constant: int
) -> None:
    values = torch.tensor(rewards, dtype=torch.float64)
    result = group_relative(values, "group_mean", scale)
    assert result.isfinite().all()
    if scale != "leave_one_out_std":
        torch.testing.assert_close(result.sum(-1), torch.zeros(len(rewards), dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(group_relative(values + constant, "group_mean", scale), result, rtol=1e-6, atol=1e-6)
