"""From rewards to an update's gradient, by every objective and aggregation: written out, and however it is laid out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pytest
import torch

from rl_core.algorithms.advantages import Baseline, Scale, group_relative
from rl_core.algorithms.aggregation import token_weights
from rl_core.algorithms.divergences import kl
from tests.rl_core.algorithms import oracles
from tests.rl_core.algorithms.every_objective import OBJECTIVES
from tests.rl_core.algorithms.test_aggregation import AGGREGATIONS

LENGTHS = ((3, 1, 9), (4, 4, 2), (6, 20, 5), (1, 1, 1))  # of each prompt's responses
REWARDS = ((1.0, 0.0, 0.25), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (-1.0, 0.5, 0.0))
LIMIT = 24.0
KL_COEFFICIENT = 0.1
ROUNDING = {"rtol": 1e-6, "atol": 1e-7}  # weights are float32
EVERY = list(product(OBJECTIVES, AGGREGATIONS))


@dataclass(frozen=True)
class Response:
    """One response, with what its update knows of it."""

    prompt: int
    policy: torch.Tensor
    old: torch.Tensor
    ref: torch.Tensor
    advantage: float


def responses(
    rewards: Sequence[Sequence[float]] = REWARDS, baseline: Baseline = "group_mean", scale: Scale = "group_std"
) -> list[Response]:
    """Of all prompts, with the same log-probabilities at every call."""
    generator = torch.Generator().manual_seed(2)
    advantages = group_relative(torch.tensor(rewards, dtype=torch.float64), baseline, scale)
    made = []
    for prompt, own in enumerate(LENGTHS):
        for index, length in enumerate(own):
            old, by_policy, by_ref = torch.randn(3, length, generator=generator, dtype=torch.float64)
            policy = old + 0.4 * by_policy
            made.append(Response(prompt, policy, old, old + 0.3 * by_ref, advantages[prompt, index].item()))
    return made


def update(
    micro_batches: Sequence[Sequence[Response]], objective: str, aggregation: str, *, divergence: bool = True
) -> tuple[float, dict[int, torch.Tensor]]:
    """Loss, and the gradient of each response's log-probabilities under the identity of the tensor that holds them."""
    everything = [response for batch in micro_batches for response in batch]
    of_prompt = {prompt: sum(len(r.policy) for r in everything if r.prompt == prompt) for prompt in range(len(LENGTHS))}
    total, gradients = 0.0, {}
    for batch in micro_batches:
        lengths = torch.tensor([len(response.policy) for response in batch])
        weights = token_weights(
            lengths,
            aggregation,  # type: ignore[arg-type]
            num_tokens=sum(of_prompt.values()),
            num_sequences=len(everything),
            normalizer_tokens=LIMIT,
            prompt_tokens=torch.tensor([of_prompt[response.prompt] for response in batch]),
            num_prompts=len(LENGTHS),
        ).repeat_interleave(lengths)
        policy = torch.cat([response.policy for response in batch]).requires_grad_()
        advantages = torch.tensor([response.advantage for response in batch]).double().repeat_interleave(lengths)
        old, ref = (torch.cat([getattr(response, name) for response in batch]) for name in ("old", "ref"))
        losses, _ = OBJECTIVES[objective].ours(policy, old, advantages, lengths)
        if divergence:
            losses = losses + KL_COEFFICIENT * kl(policy, ref, "k3+")
        loss = (losses * weights).sum()
        total += loss.item()
        (gradient,) = torch.autograd.grad(loss, policy)
        gradients |= {id(r.policy): g for r, g in zip(batch, gradient.split(lengths.tolist()), strict=True)}
    return total, gradients


@pytest.mark.parametrize(("objective", "aggregation"), EVERY)
def test_the_loss_is_the_sum_written_out(objective: str, aggregation: str) -> None:
    every, written = responses(), OBJECTIVES[objective].written
    advantages = [a for group in oracles.group_advantages(REWARDS, "group_mean", "group_std") for a in group]
    weights = [weight for prompt in oracles.weights(LENGTHS, aggregation, LIMIT) for weight in prompt]
    expected = 0.0
    for response, advantage, weight in zip(every, advantages, weights, strict=True):
        policy, old = response.policy.tolist(), response.old.tolist()
        expected += weight * sum(written(policy, policy, old, [advantage] * len(policy)))
        differences = zip(policy, response.ref.tolist(), strict=True)
        expected += weight * KL_COEFFICIENT * sum(oracles.divergence(p, r, "k3") for p, r in differences)
    assert update([every], objective, aggregation)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("objective", "aggregation"), EVERY)
def test_neither_order_nor_micro_batches_nor_neighbours_change_loss_or_gradient(
    objective: str, aggregation: str
) -> None:
    every = responses()
    loss, gradients = update([every], objective, aggregation)
    assert any(gradient.any() for gradient in gradients.values())
    shuffled = [every[index] for index in torch.randperm(len(every), generator=torch.Generator().manual_seed(3))]
    layouts = [
        [[response] for response in every],  # each alone, so without padding or company
        [every[:5], every[5:]],
        [shuffled],
        [shuffled[:1], shuffled[1:7], shuffled[7:]],
    ]
    for layout in layouts:
        other_loss, other_gradients = update(layout, objective, aggregation)
        assert other_loss == pytest.approx(loss, rel=1e-6)
        for response in every:
            torch.testing.assert_close(other_gradients[id(response.policy)], gradients[id(response.policy)], **ROUNDING)


@pytest.mark.parametrize("scale", ["none", "group_std", "leave_one_out_std", "informative_share"])
@pytest.mark.parametrize("baseline", ["group_mean", "leave_one_out"])
@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if "drift" not in name])
def test_a_reward_that_never_differs_gives_no_gradient(objective: str, baseline: Baseline, scale: Scale) -> None:
    every = responses([[0.7] * 3] * 4, baseline, scale)
    _, gradients = update([every], objective, "token_mean", divergence=False)
    assert not any(gradient.any() for gradient in gradients.values())
