"""Values and gradients of every objective against its formula in plain Python, and at ratios beyond any bound."""

from functools import partial

import pytest
import torch

from rl_core.algorithms.objectives import gspo
from tests.rl_core.algorithms import oracles
from tests.rl_core.algorithms.every_objective import BOUNDS, HIGH, LOW, OBJECTIVES, Written

EXACT = 1e-12
BOUNDS_ROUNDING = 1e-7  # bounds that grow are float32
DIFFERENCES = 1e-6  # of central differences with a step of 1e-6, in float64
LENGTHS = (1, 7, 4, 12, 2, 30)


def some_tokens(*, spread: float, by_token: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Policy, old, advantages, lengths: responses whose ratios lie on both sides of every bound."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor(LENGTHS)
    num_tokens = int(lengths.sum())
    old = -3 * torch.rand(num_tokens, generator=generator, dtype=torch.float64)
    shift = torch.randn(len(LENGTHS), generator=generator, dtype=torch.float64).repeat_interleave(lengths)
    noise = torch.randn(num_tokens, generator=generator, dtype=torch.float64)
    advantages = torch.randn(num_tokens if by_token else len(LENGTHS), generator=generator, dtype=torch.float64)
    if not by_token:
        advantages = advantages.repeat_interleave(lengths)
    return (old + spread * (noise + shift)).requires_grad_(), old, advantages, lengths


def slopes_written(written: Written, policy: list[float], *fixed: list[float]) -> list[float]:
    """Of the sum over one response, where what the formula holds fixed stays at `policy`."""
    return oracles.slopes(lambda at: sum(written(at, policy, *fixed)), policy)


@pytest.mark.parametrize("by_token", [False, True], ids=["one advantage", "advantages by token"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_and_gradient_of_every_response_are_those_written_out(name: str, by_token: bool) -> None:
    case, exact = OBJECTIVES[name], BOUNDS_ROUNDING if "growing" in name else EXACT
    policy, old, advantages, lengths = some_tokens(spread=0.6, by_token=by_token)
    loss, clipped = case.ours(policy, old, advantages, lengths)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    parts = [tensor.detach().split(LENGTHS) for tensor in (policy, old, advantages, loss, gradient)]
    for response in zip(*parts, strict=True):
        own, own_old, own_advantages, own_loss, own_gradient = (tensor.tolist() for tensor in response)
        assert own_loss == pytest.approx(case.written(own, own, own_old, own_advantages), abs=exact)
        assert own_gradient == pytest.approx(
            slopes_written(case.written, own, own_old, own_advantages), abs=DIFFERENCES
        )
    if name != "policy_gradient":
        assert 0 < int(clipped.sum()) < len(clipped), "both branches are taken"


def test_a_responses_tokens_together_have_the_gradient_of_gspos_own_ratio() -> None:
    policy, old, advantages, lengths = some_tokens(spread=0.2, by_token=False)
    loss, _ = gspo(policy, old, advantages, lengths, **BOUNDS)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    parts = [tensor.detach().split(LENGTHS) for tensor in (policy, old, advantages, gradient)]
    of_responses = []
    for response in zip(*parts, strict=True):
        own, own_old, own_advantages, own_gradient = (tensor.tolist() for tensor in response)
        of_response = partial(oracles.gspo_of_response, old=own_old, advantage=own_advantages[0], low=LOW, high=HIGH)
        of_responses.append(oracles.slopes(of_response, own))
        assert [slope / len(own) for slope in own_gradient] == pytest.approx(of_responses[-1], abs=DIFFERENCES)
    assert 0 < sum(any(slopes) for slopes in of_responses) < len(LENGTHS), "some are clipped, and some are not"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_wild_ratio_gives_neither_infinity_nor_nan(name: str) -> None:
    policy = torch.tensor([0.0, -1e4, -200.0, 0.0, -30.0, -1.0], requires_grad=True)
    old = torch.tensor([-1e4, 0.0, 0.0, -200.0, -60.0, -1.0])
    for advantage in (1.0, -1.0, 0.0):
        advantages = torch.full((6,), advantage)
        for lengths in (torch.ones(6, dtype=torch.long), torch.tensor([1, 1, 4]), torch.tensor([6])):
            loss, _ = OBJECTIVES[name].ours(policy, old, advantages, lengths)
            assert loss.isfinite().all()
            (gradient,) = torch.autograd.grad(loss.sum(), policy)
            assert gradient.isfinite().all()
            if advantage == 0 and "drift" not in name:
                assert not gradient.any()
