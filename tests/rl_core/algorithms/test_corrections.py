"""Ratios, truncation and masks by hand, and that a response's ratio does not depend on its neighbours."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.algorithms.corrections import outside, sampler_ratios, truncated

# Two responses of two and three tokens, whose ratios are 2, 1/2 and 3, 1, 9.
LENGTHS = torch.tensor([2, 3])
SAMPLER = torch.tensor([0.4, 0.4, 0.1, 0.5, 0.1]).log()
OLD = torch.tensor([0.8, 0.2, 0.3, 0.5, 0.9]).log()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [2.0, 0.5, 3.0, 1.0, 9.0]),
        ("sequence", [1.0, 1.0, 27.0, 27.0, 27.0]),
        ("sequence_geometric_mean", [1.0, 1.0, 3.0, 3.0, 3.0]),
    ],
)
def test_ratios_are_of_the_token_or_of_its_whole_response(level: str, expected: list[float]) -> None:
    assert sampler_ratios(OLD, SAMPLER, LENGTHS, level).tolist() == pytest.approx(expected)


def test_policies_that_agree_have_ratio_one_at_every_level() -> None:
    for level in ("token", "sequence", "sequence_geometric_mean"):
        assert sampler_ratios(OLD, OLD, LENGTHS, level).tolist() == [1.0] * 5


def test_the_product_over_a_long_response_stays_finite_and_above_zero() -> None:
    old, sampler = torch.full((2000,), -0.1), torch.full((2000,), -0.6)
    up = sampler_ratios(old, sampler, torch.tensor([2000]), "sequence")
    down = sampler_ratios(sampler, old, torch.tensor([2000]), "sequence")
    assert (up[0].item(), down[0].item()) == pytest.approx((math.exp(20), math.exp(-20)))


def test_a_weight_above_its_bound_is_cut_and_counted_and_small_ones_are_left_alone() -> None:
    weights, cut = truncated(torch.tensor([0.01, 1.0, 2.0, 9.0]), 2.0)
    assert weights.tolist() == pytest.approx([0.01, 1.0, 2.0, 2.0])
    assert cut.tolist() == [False, False, False, True]


def test_without_a_bound_no_weight_is_cut() -> None:
    weights, cut = truncated(torch.tensor([0.01, 900.0]), None)
    assert weights.tolist() == pytest.approx([0.01, 900.0])
    assert not cut.any()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.5, 5.0, [True, False, False, False, True]),
        (None, 5.0, [False, False, False, False, True]),
        (0.5, None, [True, False, False, False, False]),
    ],
)
def test_a_ratio_out_of_bounds_is_masked_and_one_at_a_bound_is_not(
    low: float | None, high: float | None, expected: list[bool]
) -> None:
    assert outside(torch.tensor([0.49, 0.5, 1.0, 5.0, 5.1]), low, high).tolist() == expected


RESPONSES = st.lists(
    st.lists(st.tuples(st.floats(-8, -0.01), st.floats(-8, -0.01)), min_size=1, max_size=6), min_size=1, max_size=5
)


@given(RESPONSES, st.sampled_from(["token", "sequence", "sequence_geometric_mean"]))
def test_a_responses_ratios_are_the_same_alone_and_beside_others(
    responses: list[list[tuple[float, float]]], level: str
) -> None:
    def ratios(some: list[list[tuple[float, float]]]) -> list[float]:
        old, sampler = torch.tensor([pair for response in some for pair in response]).T
        return sampler_ratios(old, sampler, torch.tensor([len(response) for response in some]), level).tolist()

    assert ratios(responses) == [ratio for response in responses for ratio in ratios([response])]
