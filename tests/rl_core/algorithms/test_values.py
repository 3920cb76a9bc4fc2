"""The value model's loss by hand and by finite differences, and the share of the returns that it explains."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.algorithms.advantages import moments
from rl_core.algorithms.values import explained_variance, value_loss


def loss_of(value: float, old: float, returned: float, value_clip: float | None) -> tuple[float, bool, float]:
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    old_values, returns = (torch.tensor([number], dtype=torch.float64) for number in (old, returned))
    loss, clipped = value_loss(values, old_values, returns, value_clip=value_clip)
    loss.sum().backward()
    assert values.grad is not None
    return loss.item(), bool(clipped), values.grad.item()


@pytest.mark.parametrize(
    ("value", "old", "returned", "value_clip", "loss", "clipped", "slope"),
    [
        (3.0, 0.0, 1.0, None, 2.0, False, 2.0),
        (3.0, 0.0, 1.0, 5.0, 2.0, False, 2.0),  # inside the bound
        (0.9, 0.0, 1.0, 0.5, 0.125, True, 0.0),  # nearer to the return than the bound allows: 0.5 away, at the bound
        (-0.9, 0.0, 1.0, 0.5, 1.805, False, -1.9),  # beyond it and worse off: its own square is the larger one
        (1.0, 1.0, 1.0, 0.5, 0.0, False, 0.0),
    ],
)
def test_one_value_worked_out_by_hand(
    value: float, old: float, returned: float, value_clip: float | None, loss: float, clipped: bool, slope: float
) -> None:
    assert loss_of(value, old, returned, value_clip) == (pytest.approx(loss), clipped, pytest.approx(slope))


numbers = st.floats(-4, 4)


@given(numbers, numbers, numbers, st.one_of(st.none(), st.floats(0.1, 2)))
def test_the_loss_is_the_larger_square_and_its_gradient_that_ones(
    value: float, old: float, returned: float, value_clip: float | None
) -> None:
    bounded = value if value_clip is None else min(max(value, old - value_clip), old + value_clip)
    squares = [(value - returned) ** 2, (bounded - returned) ** 2]
    loss, clipped, slope = loss_of(value, old, returned, value_clip)
    assert loss == pytest.approx(max(squares) / 2, abs=1e-12)
    assert slope == pytest.approx(0.0 if clipped else value - returned, abs=1e-12)
    assert clipped == (squares[1] > squares[0])


def explained(values: list[float], returns: list[float]) -> float:
    predicted, wanted = (torch.tensor(each, dtype=torch.float64) for each in (values, returns))
    every = torch.ones(len(values), dtype=torch.bool)
    return explained_variance(moments(wanted, every), moments(wanted - predicted, every))


def test_explained_variance_by_hand() -> None:
    returns = [1.0, 2.0, 3.0, 6.0]
    assert explained(returns, returns) == 1
    assert explained([4.0] * 4, returns) == pytest.approx(0)  # a constant, whichever
    assert explained([-value for value in returns], returns) == pytest.approx(-3)  # errors of twice the size
    assert explained([1.0, 2.0, 3.0, 3.0], returns) == pytest.approx(1 - 6.75 / 14)


def test_explained_variance_of_returns_that_are_all_alike_or_absent_is_not_a_number() -> None:
    assert math.isnan(explained([1.0, 2.0], [3.0, 3.0]))
    assert math.isnan(explained_variance((0, 0, 0), (0, 0, 0)))
