"""How far an exported reward model's scores may be from the trainer's."""

import math

import pytest
import torch

from rl_core.preference.export import score_difference

FLOAT32 = {"rel": 1e-4}  # of a difference of two numbers that are nearly the same


@pytest.mark.parametrize(
    ("scores", "expected", "difference"),
    [
        ([[4.0], [-2.5]], [[4.0], [-2.0]], 0.5 / 4),
        ([[0.04], [-0.025]], [[0.04], [-0.02]], 0.005 / 0.04),  # a hundredth of the same
        ([[1e-6], [0.0]], [[0.0], [0.0]], 1e-6 / 1e-3),  # nothing was learned: rounding proves no other model
        ([[0.02], [0.0]], [[0.0], [0.0]], 0.02 / 1e-3),
    ],
)
def test_scores_differ_by_a_share_of_the_largest_however_small_that_is(
    scores: list[list[float]], expected: list[list[float]], difference: float
) -> None:
    assert score_difference(torch.tensor(scores), torch.tensor(expected)) == pytest.approx(difference, **FLOAT32)


def test_a_score_that_is_not_a_number_differs_by_what_is_none() -> None:
    assert math.isnan(score_difference(torch.tensor([[math.nan]]), torch.tensor([[1.0]])))
