"""Every objective with settings that put some tokens on either side of each bound: ours, and as written out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rl_core.algorithms.objectives import cispo, clipped_surrogate, cpgd, growing_bounds, gspo, policy_gradient
from tests.rl_core.algorithms import oracles

LOW, HIGH, DUAL, DRIFT, MAX_DRIFT, TIGHTNESS = 0.2, 0.3, 2.0, 0.5, 1.0, 0.25
BOUNDS = {"clip_low": LOW, "clip_high": HIGH}

Tensors = tuple[torch.Tensor, torch.Tensor]
# policy, old, advantages, lengths -> loss, clipped
Ours = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Tensors]
# policy, frozen, old, advantages of one response -> losses of its tokens
Written = Callable[[list[float], list[float], list[float], list[float]], list[float]]


@dataclass(frozen=True)
class Case:
    """One objective, both ways."""

    ours: Ours
    written: Written


def _cpgd_growing(policy: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, lengths: torch.Tensor) -> Tensors:
    share = growing_bounds(lengths, TIGHTNESS)
    return cpgd(
        policy,
        old,
        advantages,
        clip_low=LOW * share,
        clip_high=HIGH * share,
        drift_coefficient=DRIFT,
        max_drift=MAX_DRIFT,
    )


def _cpgd_growing_written(
    policy: list[float], frozen: list[float], old: list[float], advantages: list[float]
) -> list[float]:
    share = [TIGHTNESS + (1 - TIGHTNESS) * i / len(policy) for i in range(1, len(policy) + 1)]
    low, high = [LOW * each for each in share], [HIGH * each for each in share]
    return oracles.cpgd(policy, frozen, old, advantages, low, high, DRIFT, MAX_DRIFT)


OBJECTIVES = {
    "clipped_surrogate": Case(
        lambda policy, old, a, lengths: clipped_surrogate(policy, old, a, **BOUNDS),
        lambda *numbers: oracles.clipped_surrogate(*numbers, LOW, HIGH),
    ),
    "clipped_surrogate, dual clip": Case(
        lambda policy, old, a, lengths: clipped_surrogate(policy, old, a, **BOUNDS, dual_clip=DUAL),
        lambda *numbers: oracles.clipped_surrogate(*numbers, LOW, HIGH, DUAL),
    ),
    "policy_gradient": Case(
        lambda policy, old, a, lengths: policy_gradient(policy, a),
        oracles.policy_gradient,
    ),
    "cispo": Case(
        lambda policy, old, a, lengths: cispo(policy, old, a, **BOUNDS),
        lambda *numbers: oracles.cispo(*numbers, LOW, HIGH),
    ),
    "gspo": Case(
        lambda policy, old, a, lengths: gspo(policy, old, a, lengths, **BOUNDS),
        lambda *numbers: oracles.gspo(*numbers, LOW, HIGH),
    ),
    "gspo, dual clip": Case(
        lambda policy, old, a, lengths: gspo(policy, old, a, lengths, **BOUNDS, dual_clip=DUAL),
        lambda *numbers: oracles.gspo(*numbers, LOW, HIGH, DUAL),
    ),
    "cpgd": Case(
        lambda policy, old, a, lengths: cpgd(policy, old, a, **BOUNDS),
        lambda policy, *numbers: oracles.cpgd(policy, *numbers, [LOW] * len(policy), [HIGH] * len(policy)),
    ),
    "cpgd, growing bounds and drift": Case(_cpgd_growing, _cpgd_growing_written),
}
