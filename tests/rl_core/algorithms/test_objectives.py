"""Every objective: single tokens by hand, values and gradients against formulas written out, and wild ratios."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.algorithms.objectives import (
    cispo,
    clipped_surrogate,
    cpgd,
    epoch_weights,
    growing_bounds,
    gspo,
    policy_gradient,
)

OLD = math.log(0.5)
ROUNDING = 1e-9
LOW, HIGH = 0.2, 0.3
Objective = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def one_token(objective: Objective, ratio: float, advantage: float) -> tuple[float, bool, float]:
    """Loss, whether it is clipped, and its derivative by the policy's log-probability."""
    logprob = torch.tensor([OLD + math.log(ratio)], dtype=torch.float64, requires_grad=True)
    old, advantages = (torch.tensor([number], dtype=torch.float64) for number in (OLD, advantage))
    loss, clipped = objective(logprob, old, advantages)
    loss.sum().backward()
    assert logprob.grad is not None
    return loss.item(), bool(clipped), logprob.grad.item()


def surrogate(ratio: float, advantage: float, dual_clip: float | None = None) -> tuple[float, bool, float]:
    def objective(
        policy: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return clipped_surrogate(policy, old, advantages, clip_low=LOW, clip_high=HIGH, dual_clip=dual_clip)

    return one_token(objective, ratio, advantage)


@pytest.mark.parametrize(
    ("ratio", "advantage", "dual_clip", "loss", "clipped", "slope"),
    [
        (1.0, 2.0, None, -2.0, False, -2.0),
        (1.2, 2.0, None, -2.4, False, -2.4),
        (1.5, 2.0, None, -2.6, True, 0.0),  # above 1.3: nothing more to gain
        (0.5, 2.0, None, -1.0, False, -1.0),  # below 0.8 with a good response: pulled back
        (1.0, -2.0, None, 2.0, False, 2.0),
        (0.5, -2.0, None, 1.6, True, 0.0),  # below 0.8: nothing more to gain
        (1.5, -2.0, None, 3.0, False, 3.0),  # above 1.3 with a bad response: pushed down
        (1.5, -2.0, 3.0, 3.0, False, 3.0),
        (4.0, -2.0, 3.0, 6.0, True, 0.0),  # dual clip: at most 3 * 2
        (4.0, 2.0, 3.0, -2.6, True, 0.0),  # no dual clip for a good response
        (1.0, 0.0, 3.0, 0.0, False, 0.0),
    ],
)
def test_one_token_of_the_clipped_surrogate_worked_out_by_hand(
    ratio: float, advantage: float, dual_clip: float | None, loss: float, clipped: bool, slope: float
) -> None:
    value, was_clipped, gradient = surrogate(ratio, advantage, dual_clip)
    assert (value, gradient) == (pytest.approx(loss), pytest.approx(slope))
    assert was_clipped is clipped


@given(st.floats(0.05, 20), st.floats(-5, 5), st.one_of(st.none(), st.floats(1.5, 10)))
def test_the_gradient_is_zero_where_clipped_and_otherwise_raises_good_and_lowers_bad_tokens(
    ratio: float, advantage: float, dual_clip: float | None
) -> None:
    loss, clipped, slope = surrogate(ratio, advantage, dual_clip)
    if dual_clip is None:
        assert loss >= -advantage * ratio - ROUNDING
    if clipped:
        assert slope == 0
    else:
        assert slope == pytest.approx(-advantage * ratio)


def test_one_token_of_the_plain_policy_gradient() -> None:
    for ratio in (0.01, 1.0, 1.8):
        loss, clipped, slope = one_token(lambda policy, old, a: policy_gradient(policy, a), ratio, 3.0)
        assert (loss, slope) == (pytest.approx(-3 * (OLD + math.log(ratio))), -3.0)
        assert not clipped


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight", "clipped"),
    [
        (1.0, 2.0, 1.0, False),
        (1.2, -2.0, 1.2, False),
        (1.5, 2.0, 1.3, True),
        (1.5, -2.0, 1.3, True),
        (0.1, 2.0, 0.8, True),
    ],
)
def test_one_token_of_cispo_keeps_a_gradient_of_bounded_weight_whichever_its_sign(
    ratio: float, advantage: float, weight: float, clipped: bool
) -> None:
    loss, was_clipped, slope = one_token(
        lambda *tensors: cispo(*tensors, clip_low=LOW, clip_high=HIGH), ratio, advantage
    )
    assert slope == pytest.approx(-weight * advantage)
    assert loss == pytest.approx(-weight * advantage * (OLD + math.log(ratio)))
    assert was_clipped is clipped


def test_cispo_without_a_bound_from_below_takes_the_ratio_itself() -> None:
    _, clipped, slope = one_token(lambda *tensors: cispo(*tensors, clip_low=1.0, clip_high=4.0), 0.01, 1.0)
    assert slope == pytest.approx(-0.01)
    assert not clipped


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped", "slope"),
    [
        (1.0, 2.0, 0.0, False, -2.0),
        (1.2, 2.0, -2 * math.log(1.2), False, -2.0),  # no ratio in the gradient
        (1.5, 2.0, -2 * math.log(1.3), True, 0.0),
        (0.01, 2.0, -2 * math.log(0.01), False, -2.0),
        (0.9, -2.0, 2 * math.log(0.9), False, 2.0),
        (0.5, -2.0, 2 * math.log(0.8), True, 0.0),
        (1.9, -2.0, 2 * math.log(1.9), False, 2.0),
        (1.9, 0.0, 0.0, False, 0.0),
        (0.5, 0.0, 0.0, False, 0.0),
    ],
)
def test_one_token_of_cpgd_worked_out_by_hand(
    ratio: float, advantage: float, loss: float, clipped: bool, slope: float
) -> None:
    value, was_clipped, gradient = one_token(
        lambda *tensors: cpgd(*tensors, clip_low=LOW, clip_high=HIGH), ratio, advantage
    )
    assert (value, gradient) == (pytest.approx(loss), pytest.approx(slope))
    assert was_clipped is clipped


@pytest.mark.parametrize(
    ("ratio", "drift"), [(1.0, 0.0), (1.5, 0.5), (0.25, -0.75), (3.0, 2.0), (40.0, 2.0), (math.exp(30), 2.0)]
)
def test_cpgds_drift_has_the_gradient_of_the_ratio_minus_one_up_to_its_bound(ratio: float, drift: float) -> None:
    def objective(policy: torch.Tensor, old: torch.Tensor, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return cpgd(policy, old, a, clip_low=LOW, clip_high=HIGH, drift_coefficient=0.1, max_drift=2.0)

    loss, _, slope = one_token(objective, ratio, 0.0)
    assert slope == pytest.approx(0.1 * drift)
    assert loss == pytest.approx(0.1 * drift * (OLD + math.log(ratio)))


@given(st.lists(st.tuples(st.floats(-9, 0), st.floats(-3, 3)), min_size=1, max_size=9))
def test_at_ratio_one_cpgd_has_the_plain_policy_gradient(tokens: list[tuple[float, float]]) -> None:
    logprobs, advantages = torch.tensor(tokens, dtype=torch.float64).T
    logprobs = logprobs.clone().requires_grad_()
    gradients = [
        torch.autograd.grad(loss.sum(), logprobs)[0]
        for loss, _ in (
            cpgd(logprobs, logprobs.detach(), advantages, clip_low=LOW, clip_high=HIGH, drift_coefficient=0.5),
            policy_gradient(logprobs, advantages),
        )
    ]
    assert torch.equal(*gradients)


def test_bounds_grow_from_tight_to_whole_along_each_response() -> None:
    bounds = growing_bounds(torch.tensor([4, 1, 2]), 0.2)
    assert bounds.tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0, 1.0, 0.6, 1.0])
    assert growing_bounds(torch.tensor([3, 2]), 1.0).tolist() == [1.0] * 5
    assert growing_bounds(torch.tensor([4]), 0.0).tolist() == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_cpgd_with_growing_bounds_clips_at_the_start_what_it_lets_pass_at_the_end() -> None:
    bounds = growing_bounds(torch.tensor([4]), 0.0) * 0.2  # 0.05, 0.1, 0.15, 0.2
    policy = torch.full((4,), math.log(1.12))
    for advantage, logprobs in ((1.0, policy), (-1.0, torch.full((4,), math.log(0.88)))):
        _, clipped = cpgd(logprobs, torch.zeros(4), torch.full((4,), advantage), clip_low=bounds, clip_high=bounds)
        assert clipped.tolist() == [True, True, False, False]


def test_epoch_weights_are_the_bounded_ratio_of_the_pass_before_and_one_at_first() -> None:
    previous = torch.tensor([0.5, 0.6, 0.9, 0.1]).log().requires_grad_()
    old = torch.full((4,), 0.5).log()
    weights = epoch_weights(previous, old, clip_low=LOW, clip_high=HIGH)
    assert weights.tolist() == pytest.approx([1.0, 1.2, 1.3, 0.8])
    assert not weights.requires_grad
    assert epoch_weights(old, old, clip_low=LOW, clip_high=HIGH).tolist() == [1.0] * 4


def test_gspo_of_four_responses_by_hand() -> None:
    # Geometric means: of 2 and 1/2, 1; of 1.2 alone and of twice 1.2, 1.2; of twice 1.5, 1.5, which is clipped at 1.3.
    logprobs = torch.tensor([2.0, 0.5, 1.2, 1.2, 1.2, 1.5, 1.5], dtype=torch.float64).log().requires_grad_()
    old, advantages, lengths = torch.zeros(7).double(), torch.full((7,), 2.0).double(), torch.tensor([2, 1, 2, 2])
    loss, clipped = gspo(logprobs, old, advantages, lengths, clip_low=LOW, clip_high=HIGH)
    assert loss.tolist() == pytest.approx([-2, -2, -2.4, -2.4, -2.4, -2.6, -2.6])
    assert clipped.tolist() == [False] * 5 + [True] * 2
    loss.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-2, -2, -2.4, -2.4, -2.4, 0, 0])


def test_gspo_bounds_a_bad_response_by_its_dual_clip() -> None:
    logprobs = torch.full((3,), math.log(5.0)).requires_grad_()
    lengths = torch.tensor([3])
    loss, clipped = gspo(
        logprobs, torch.zeros(3), torch.full((3,), -1.0), lengths, clip_low=LOW, clip_high=HIGH, dual_clip=3.0
    )
    assert loss.tolist() == pytest.approx([3.0] * 3)
    assert clipped.all()
    assert not torch.autograd.grad(loss.sum(), logprobs)[0].any()
