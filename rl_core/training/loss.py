"""The loss of a micro-batch: surrogate, correction, divergence and entropy of each token, by the recipe's coefficients.

Shapes: N response tokens of all responses, laid end to end.
"""

import torch

from rl_core.algorithms.corrections import Level, outside, sampler_ratios, truncated
from rl_core.algorithms.divergences import kl
from rl_core.algorithms.objectives import clipped_surrogate
from rl_core.config import AlgorithmConfig
from rl_core.config.algorithm import CorrectionConfig
from rl_core.training.batching import MicroBatch
from rl_core.training.figures import Figures


def micro_batch_loss(
    batch: MicroBatch, logprobs: torch.Tensor, entropies: torch.Tensor, algorithm: AlgorithmConfig, figures: Figures
) -> torch.Tensor:
    """This micro-batch's part of its update's loss, a scalar; what it consists of is counted in the figures.

    Args:
        batch: with old log-probabilities, and with the reference's where the divergence is in the loss.
        logprobs: [N], of the policy, with gradient.
        entropies: [N], with gradient.
    """
    assert batch.old_logprobs is not None, "old log-probabilities come before the loss"
    trained = batch.weights > 0
    loss, clipped = clipped_surrogate(
        logprobs,
        batch.old_logprobs,
        batch.advantages,
        clip_low=algorithm.clip_low,
        clip_high=algorithm.clip_high,
        dual_clip=algorithm.dual_clip,
    )
    if algorithm.correction.weight or algorithm.correction.mask:
        loss = loss * correction_weights(batch, batch.old_logprobs, algorithm.correction, figures)
    if batch.ref_logprobs is not None:
        divergence = kl(logprobs, batch.ref_logprobs, "k3")
        loss = loss + algorithm.kl_coefficient * divergence
        figures.count("kl_ref_mean", divergence.detach(), trained)
    if algorithm.entropy_coefficient:
        loss = loss - algorithm.entropy_coefficient * entropies
    figures.count("clip_fraction", clipped.float(), trained)
    figures.count("padding_fraction", batch.waste_mask.float(), torch.ones_like(batch.waste_mask))
    figures.count("kl_old_mean", kl(logprobs.detach(), batch.old_logprobs, "k3"), trained)
    return (loss * batch.weights).sum()


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
