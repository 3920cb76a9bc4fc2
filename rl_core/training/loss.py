"""The loss of a micro-batch: of the policy, its surrogate, correction, divergence and entropy; of the critic.

Shapes: N response tokens of all responses, laid end to end.
"""

import torch

from rl_core.algorithms.corrections import Level, outside, sampler_ratios, truncated
from rl_core.algorithms.divergences import kl
from rl_core.algorithms.objectives import cispo, clipped_surrogate, cpgd, growing_bounds, gspo, policy_gradient
from rl_core.algorithms.values import value_loss
from rl_core.config import AlgorithmConfig
from rl_core.config.algorithm import CorrectionConfig
from rl_core.training.batching import MicroBatch
from rl_core.training.figures import Figures


def micro_batch_loss(
    batch: MicroBatch,
    logprobs: torch.Tensor,
    entropies: torch.Tensor,
    algorithm: AlgorithmConfig,
    figures: Figures,
    *,
    kl_coefficient: float,
) -> torch.Tensor:
    """This micro-batch's part of its update's loss, a scalar; what it consists of is counted in the figures.

    Args:
        batch: with old log-probabilities, and with the reference's where the divergence is in the loss.
        logprobs: [N], of the policy, with gradient.
        entropies: [N], with gradient.
        kl_coefficient: of the divergence in the loss, as it stands.
    """
    assert batch.old_logprobs is not None, "old log-probabilities come before the loss"
    trained = batch.weights > 0
    loss, clipped = surrogate(batch, logprobs, batch.old_logprobs, algorithm)
    if algorithm.correction.weight or algorithm.correction.mask:
        loss = loss * correction_weights(batch, batch.old_logprobs, algorithm.correction, figures)
    if batch.ref_logprobs is not None and algorithm.kl_in == "loss":
        divergence = kl(logprobs, batch.ref_logprobs, algorithm.kl_estimator)
        loss = loss + kl_coefficient * divergence
        figures.count("kl_ref_mean", divergence.detach(), trained)
    if algorithm.entropy_coefficient:
        loss = loss - algorithm.entropy_coefficient * entropies
    figures.count("clip_fraction", clipped.float(), trained)
    figures.count("padding_fraction", batch.waste_mask.float(), torch.ones_like(batch.waste_mask))
    figures.count("kl_old_mean", kl(logprobs.detach(), batch.old_logprobs, "k3"), trained)
    return (loss * batch.weights).sum()


def surrogate(
    batch: MicroBatch, logprobs: torch.Tensor, old_logprobs: torch.Tensor, algorithm: AlgorithmConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """The objective of each token, to be minimised, and where it is clipped: [N], [N] bool."""
    advantages, bounds = batch.advantages, {"clip_low": algorithm.clip_low, "clip_high": algorithm.clip_high}
    match algorithm.objective:
        case "clipped_surrogate":
            return clipped_surrogate(logprobs, old_logprobs, advantages, **bounds, dual_clip=algorithm.dual_clip)
        case "policy_gradient":
            return policy_gradient(logprobs, advantages)
        case "gspo":
            lengths = batch.response_lengths
            return gspo(logprobs, old_logprobs, advantages, lengths, **bounds, dual_clip=algorithm.dual_clip)
        case "cispo":
            return cispo(logprobs, old_logprobs, advantages, **bounds)
        case "cpgd":
            share: torch.Tensor | float = 1.0
            if algorithm.clip_tightness is not None:
                share = growing_bounds(batch.response_lengths, algorithm.clip_tightness)
            return cpgd(
                logprobs,
                old_logprobs,
                advantages,
                clip_low=algorithm.clip_low * share,
                clip_high=algorithm.clip_high * share,
                drift_coefficient=algorithm.drift_coefficient,
                max_drift=algorithm.max_drift,
            )


def critic_loss(batch: MicroBatch, values: torch.Tensor, value_clip: float | None, figures: Figures) -> torch.Tensor:
    """This micro-batch's part of the critic's loss, a scalar.

    Args:
        batch: with returns, old values and their weights.
        values: [N], with gradient.
    """
    assert batch.old_values is not None
    assert batch.returns is not None
    assert batch.value_weights is not None
    loss, clipped = value_loss(values, batch.old_values, batch.returns, value_clip=value_clip)
    figures.count("value_clip_fraction", clipped.float(), batch.value_weights > 0)
    return (loss * batch.value_weights).sum()


def correction_weights(
    batch: MicroBatch, old_logprobs: torch.Tensor, correction: CorrectionConfig, figures: Figures
) -> torch.Tensor:
    """What multiplies each token's surrogate, without gradient: [N], zero where masked."""

    def ratios(level: Level) -> torch.Tensor:
        return sampler_ratios(old_logprobs, batch.sampler_logprobs, batch.response_lengths, level)

    trained = batch.weights > 0
    weights = torch.ones_like(old_logprobs)
    if correction.weight is not None:
        weights, cut = truncated(ratios(correction.weight), correction.max_weight)
        if correction.max_weight is not None:
            figures.count("correction_truncated_fraction", cut.float(), trained)
    if correction.mask is not None:
        masked = outside(ratios(correction.mask), correction.mask_low, correction.mask_high)
        weights = weights.masked_fill(masked, 0.0)
        figures.count("correction_masked_fraction", masked.float(), trained)
    figures.count("correction_weight_mean", weights, trained)
    return weights
