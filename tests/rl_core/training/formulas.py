"""The loss of one update written out response by response, and its gradient: what the trainer is compared with."""

import math
from typing import Any

import torch

from rl_core.config.algorithm import AlgorithmConfig, CorrectionConfig
from rl_core.config.models import OptimizerConfig
from rl_core.rollout.collect import Rollout
from rl_core.training.learner import Learner
from rl_core.training.partitions import read_moment
from rl_core.world import World
from tests.rl_core.training.tiny_training import (
    NORMALIZER_TOKENS,
    NUM_SAMPLES,
    REWARDS,
    SAMPLER_LOGPROB,
    TEMPERATURE,
    first_policy,
    fixed_rollouts,
    new_learner,
    policy,
)

ROUNDING = {"rtol": 2e-4, "atol": 2e-6}  # of float32, over some hundred tokens in another order
# With this, AdamW's first moment is the gradient itself, unclipped.
PLAIN = OptimizerConfig(learning_rate=1.0, betas=(0.0, 0.999), max_grad_norm=1e9, weight_decay=0.0)

# The bounds are such that some tokens, or responses, lie on either side of each.
TERMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "kl": {"kl_coefficient": 0.1},
    "entropy": {"entropy_coefficient": 0.05},
    "kl and entropy": {"kl_coefficient": 0.1, "entropy_coefficient": 0.05},
    "clipped": {"old_logprobs": "sampler"},
    "dual clip": {"old_logprobs": "sampler", "dual_clip": 3.0},
    "token weight": {"correction": {"weight": "token"}},
    "TIS": {"correction": {"weight": "token", "max_weight": 2.0}},
    "IcePop": {"correction": {"weight": "token", "mask": "token", "mask_low": 0.5, "mask_high": 5.0}},
    "seq-TIS": {"correction": {"weight": "sequence", "max_weight": 2.0}},
    "seq-MIS": {"correction": {"weight": "sequence", "mask": "sequence", "mask_high": 2.0}},
    "geo-mask": {"correction": {"mask": "sequence_geometric_mean", "mask_low": 0.99, "mask_high": 2.0}},
    "policy gradient": {"objective": "policy_gradient"},
    "gspo": {"objective": "gspo", "old_logprobs": "sampler", "clip_low": 0.4, "clip_high": 0.4},
    "cispo": {"objective": "cispo", "old_logprobs": "sampler"},
    "cpgd": {"objective": "cpgd", "old_logprobs": "sampler", "drift_coefficient": 0.3, "scale": "none"},
    "cpgd tight to loose": {"objective": "cpgd", "old_logprobs": "sampler", "clip_tightness": 0.25, "clip_high": 0.9},
    "k1": {"kl_coefficient": 0.1, "kl_estimator": "k1"},
    "k2": {"kl_coefficient": 0.1, "kl_estimator": "k2"},
    "k3+": {"kl_coefficient": 0.1, "kl_estimator": "k3+"},
    "filtered": {"overlong_filtering": True, "kl_coefficient": 0.1},
    "seq-mask-tis with kl and entropy": {
        "correction": {"weight": "token", "mask": "sequence_geometric_mean", "mask_high": 2.0},
        "kl_coefficient": 0.1,
        "entropy_coefficient": 0.05,
    },
}


def logprobs_and_entropies(model: torch.nn.Module, rollout: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one response, from transformers' own logits."""
    prompt, response = rollout.problem.prompt_ids, rollout.completion.token_ids
    logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    logprobs = (logits / TEMPERATURE).log_softmax(-1)
    return logprobs.gather(-1, torch.tensor(response)[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1)


def correction_factor(correction: CorrectionConfig, difference: torch.Tensor) -> torch.Tensor:
    """What multiplies one response's surrogate, where `difference` is old minus sampler log-probability: [T]."""
    ratios = {
        "token": difference.exp(),
        "sequence": difference.sum().exp().expand_as(difference),
        "sequence_geometric_mean": difference.mean().exp().expand_as(difference),
    }
    factor = torch.ones_like(difference)
    if correction.weight is not None:
        factor = ratios[correction.weight].clamp(max=correction.max_weight or math.inf)
    if correction.mask is not None:
        low, high = correction.mask_low or 0.0, correction.mask_high or math.inf
        factor = torch.where((ratios[correction.mask] >= low) & (ratios[correction.mask] <= high), factor, 0.0)
    return factor


def surrogate(algorithm: AlgorithmConfig, logprobs: torch.Tensor, advantage: float) -> torch.Tensor:
    """What one response's tokens contribute, negated: [T]."""
    sampler = torch.full_like(logprobs, SAMPLER_LOGPROB)
    old = sampler if algorithm.old_logprobs == "sampler" else logprobs.detach()
    return loss_of_objective(algorithm, logprobs, old, advantage) * correction_factor(
        algorithm.correction, old - sampler
    )


def loss_of_objective(
    algorithm: AlgorithmConfig, logprobs: torch.Tensor, old: torch.Tensor, advantage: float
) -> torch.Tensor:
    log_ratio, low, high = logprobs - old, algorithm.clip_low, algorithm.clip_high
    if algorithm.objective == "policy_gradient":
        return -advantage * logprobs
    if algorithm.objective == "cispo":
        return -advantage * log_ratio.exp().clamp(1 - low, 1 + high).detach() * logprobs
    if algorithm.objective == "cpgd":
        tokens = torch.arange(1, len(logprobs) + 1) / len(logprobs)
        tightness = 1.0 if algorithm.clip_tightness is None else algorithm.clip_tightness
        share = tightness + (1 - tightness) * tokens
        bounded = torch.minimum(torch.maximum(log_ratio, (1 - low * share).log()), (1 + high * share).log())
        drift = (log_ratio.exp() - 1).clamp(max=algorithm.max_drift).detach() * logprobs
        gain = torch.minimum(log_ratio * advantage, bounded * advantage)
        return -gain + algorithm.drift_coefficient * drift
    ratio = log_ratio.exp()
    if algorithm.objective == "gspo":
        ratio = log_ratio.mean().exp().detach() * logprobs.exp() / logprobs.exp().detach()
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)
    if algorithm.dual_clip is not None and advantage < 0:
        gain = gain.clamp(min=algorithm.dual_clip * advantage)
    return -gain


def advantage_of(algorithm: AlgorithmConfig, index: int) -> float:
    """Of one of the fixed responses, compared with the others to its problem."""
    reward = REWARDS[index]
    group = REWARDS[index // NUM_SAMPLES * NUM_SAMPLES :][:NUM_SAMPLES]
    scored = torch.tensor([reward for reward in group if reward is not None])
    if reward is None or float(scored.std()) == 0:
        return 0.0
    return float((reward - scored.mean()) / (scored.std() if algorithm.scale == "group_std" else 1.0))


def divergence(algorithm: AlgorithmConfig, logprobs: torch.Tensor, ref: torch.Tensor) -> torch.Tensor:
    """Of each token of one response: [T]."""
    difference = ref - logprobs
    k2, k3 = difference**2 / 2, difference.exp() - difference - 1
    return {"k1": -difference, "k2": k2, "k3": k3, "k3+": k3.detach() + k2 - k2.detach()}[algorithm.kl_estimator]


def aggregated(algorithm: AlgorithmConfig, losses: dict[int, torch.Tensor]) -> torch.Tensor:
    """The loss of an update from the losses of each response's tokens, by the response's index."""
    by_prompt: dict[int, list[torch.Tensor]] = {}
    for index, tokens in losses.items():
        by_prompt.setdefault(index // NUM_SAMPLES, []).append(tokens)
    every = list(losses.values())
    match algorithm.aggregation:
        case "token_mean":
            return torch.cat(every).mean()
        case "sequence_mean_token_mean":
            return torch.stack([tokens.mean() for tokens in every]).mean()
        case "sequence_mean_token_sum":
            return torch.stack([tokens.sum() for tokens in every]).mean()
        case "sequence_mean_token_sum_norm":
            return torch.stack([tokens.sum() / NORMALIZER_TOKENS for tokens in every]).mean()
        case "prompt_mean_token_mean":
            return torch.stack([torch.cat(tokens).mean() for tokens in by_prompt.values()]).mean()


def written_out(algorithm: AlgorithmConfig) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradient of the first update, from the policy itself."""
    model, reference = policy(), first_policy()
    losses = {}
    for index, rollout in enumerate(fixed_rollouts()):
        if algorithm.overlong_filtering and rollout.truncated:
            continue
        logprobs, entropies = logprobs_and_entropies(model, rollout)
        with torch.no_grad():
            ref_logprobs, _ = logprobs_and_entropies(reference, rollout)
        losses[index] = (
            surrogate(algorithm, logprobs, advantage_of(algorithm, index))
            + algorithm.kl_coefficient * divergence(algorithm, logprobs, ref_logprobs)
            - algorithm.entropy_coefficient * entropies
        )
    loss = aggregated(algorithm, losses)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def still_learner(world: World, zero_stage: int) -> Learner:
    """Of learning rate zero, so that every step starts from the same weights; its first moment is the gradient."""
    learner = new_learner(world, zero_stage, optimizer=PLAIN)
    learner.set_learning_rate(0.0)
    return learner


def assert_gradient(learner: Learner, expected: dict[str, torch.Tensor]) -> None:
    """The gradient of a still learner's last update is as expected, parameter by parameter. A collective call."""
    got = {name: read_moment(learner, parameter, "exp_avg") for name, parameter in learner.named_parameters()}
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, **ROUNDING, msg=lambda text, name=name: f"{name}: {text}")
