"""Corrections for what the sampler and the trainer disagree about: a weight on the surrogate, a mask over it, or both.

The responses were drawn from the sampler's distribution mu, while the surrogate takes them for the old policy's. Both
corrections come from the ratio of the two, which is fixed before the first update: nothing here has a gradient. They
multiply the surrogate alone (CPGD's with its drift), not the divergence and not the entropy, and change no denominator,
so that a masked token counts as one that has nothing to teach.

    TIS        weight token, max_weight C                    min(pi_old / mu, C)
    IcePop     weight token, mask token, low..high           pi_old / mu inside the bounds, 0 outside
    seq-TIS    weight sequence, max_weight C                 min(product of the response's ratios, C)
    seq-MIS    weight sequence, mask sequence, ..high        that product up to the bound, 0 above
    geo-mask   mask sequence_geometric_mean, low..high       1 or 0; with `weight: token`, NeMo RL's seq-mask-tis

Source: TIS: Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training"
(fengyao.notion.site/off-policy-rl); IcePop: Ling Team 2025, arXiv 2510.18855; by sequence, and masks by the geometric
mean: Liu, Li et al. 2025, "When Speed Kills Stability" (richardli.xyz/rl-collapse). Weight and mask as two choices:
verl's rollout correction, which differs in taking masked tokens out of the denominators.

Shapes: N response tokens of B responses laid end to end.
"""

from typing import Literal

import torch

Level = Literal["token", "sequence", "sequence_geometric_mean"]

MAX_LOG_RATIO = 20.0  # verl's bound on the exponent: the product over a long response must not overflow


def sampler_ratios(
    old_logprobs: torch.Tensor, sampler_logprobs: torch.Tensor, lengths: torch.Tensor, level: Level
) -> torch.Tensor:
    """The ratio pi_old / mu of each token, or of the whole response that it belongs to.

    token: of the token alone. sequence: the product over its response, which is the ratio of the response's
    probabilities. sequence_geometric_mean: the product's T-th root, which does not grow with the length T.

    Args:
        old_logprobs, sampler_logprobs: [N], without gradient.
        lengths: [B] long, at least 1; they sum to N.

    Returns:
        [N] float32, within exp(-20)..exp(20).
    """
    log_ratios = (old_logprobs - sampler_logprobs).double()
    if level != "token":
        reduce = "sum" if level == "sequence" else "mean"
        log_ratios = torch.segment_reduce(log_ratios, reduce, lengths=lengths).repeat_interleave(lengths)
    return log_ratios.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp().float()


def truncated(ratios: torch.Tensor, max_weight: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    """min(ratio, max_weight): weights [N], and where they were cut [N] bool. None cuts nothing."""
    if max_weight is None:
        return ratios, torch.zeros_like(ratios, dtype=torch.bool)
    return ratios.clamp(max=max_weight), ratios > max_weight


def outside(ratios: torch.Tensor, low: float | None, high: float | None) -> torch.Tensor:
    """[N] bool: where the ratio is below `low` or above `high`; None bounds nothing. A ratio at a bound is inside."""
    return (ratios < (0.0 if low is None else low)) | (ratios > (torch.inf if high is None else high))
