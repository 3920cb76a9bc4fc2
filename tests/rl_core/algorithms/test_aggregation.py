"""Weights of tokens: by hand, written out, and adding up to the mean that their name says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.algorithms.aggregation import Aggregation, token_weights
from tests.rl_core.algorithms import oracles

AGGREGATIONS: tuple[Aggregation, ...] = (
    "token_mean",
    "sequence_mean_token_mean",
    "sequence_mean_token_sum",
    "sequence_mean_token_sum_norm",
    "prompt_mean_token_mean",
)
LIMIT = 8.0


def weights_of(prompts: list[list[int]], aggregation: Aggregation) -> list[float]:
    lengths = [length for prompt in prompts for length in prompt]
    return token_weights(
        torch.tensor(lengths),
        aggregation,
        num_tokens=sum(lengths),
        num_sequences=len(lengths),
        normalizer_tokens=LIMIT,
        prompt_tokens=torch.tensor([sum(prompt) for prompt in prompts for _ in prompt]),
        num_prompts=len(prompts),
    ).tolist()


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("token_mean", [1 / 12] * 4),
        ("sequence_mean_token_mean", [1 / 4, 1 / 16, 1 / 20, 1 / 8]),
        ("sequence_mean_token_sum", [1 / 4] * 4),
        ("sequence_mean_token_sum_norm", [1 / 32] * 4),
        ("prompt_mean_token_mean", [1 / 10, 1 / 10, 1 / 14, 1 / 14]),
    ],
)
def test_two_prompts_of_two_responses_by_hand(aggregation: Aggregation, expected: list[float]) -> None:
    assert weights_of([[1, 4], [5, 2]], aggregation) == pytest.approx(expected)


prompts = st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=4), min_size=1, max_size=4)


@given(prompts, st.sampled_from(AGGREGATIONS))
def test_weights_are_those_written_out_and_of_means_they_add_up_to_one(
    lengths: list[list[int]], aggregation: Aggregation
) -> None:
    weights = weights_of(lengths, aggregation)
    written = oracles.weights(lengths, aggregation, LIMIT)
    assert weights == pytest.approx([weight for prompt in written for weight in prompt])
    flat = [length for prompt in lengths for length in prompt]
    if "sum" not in aggregation:
        assert sum(w * length for w, length in zip(weights, flat, strict=True)) == pytest.approx(1)


@pytest.mark.parametrize("aggregation", ["sequence_mean_token_sum_norm", "prompt_mean_token_mean"])
def test_a_denominator_that_is_missing_is_named(aggregation: Aggregation) -> None:
    with pytest.raises(AssertionError, match=aggregation):
        token_weights(torch.tensor([1]), aggregation, num_tokens=1, num_sequences=1)
