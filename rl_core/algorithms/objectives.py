"""What the loss of one response token is, given its advantage. Divergences, aggregation and credit are elsewhere.

Shapes: N response tokens of B responses laid end to end, `lengths` [B] long, at least 1, which sum to N.
Log-probabilities are natural, of the distribution that was sampled from: `policy_logprobs` [N] with gradient,
`old_logprobs` [N] without. `advantages` [N], without gradient: each response's own on all its tokens, or one per token.

Every objective returns the loss [N], and clipped [N] bool: where a bound is what decides. The ratio w is
exp(policy - old), its logarithm bounded so that a wild one gives neither infinity nor NaN; beyond it has no gradient.
"""

import torch

from rl_core.algorithms.corrections import MAX_LOG_RATIO


def clipped_surrogate(
    policy_logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss -min(w A, clip(w, 1 - clip_low, 1 + clip_high) A) with the ratio w of the token.

    With `dual_clip` c the loss is at most -c A where A is negative.

    Source: PPO, Schulman et al. 2017, arXiv 1707.06347, equation 7; separate bounds: DAPO, Yu et al. 2025, arXiv
    2503.14476, equation 10; dual clip: Ye et al. 2020, arXiv 1912.09729, equation 5. The bound on the log-ratio is
    verl's.

    Returns:
        loss [N]; clipped [N] bool: where the clipped branch is the one taken.
    """
    return _clipped(_ratio(policy_logprobs - old_logprobs), advantages, clip_low, clip_high, dual_clip)


def gspo(
    policy_logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    lengths: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clipped surrogate of the response's ratio s = exp(mean over its tokens of policy - old).

    Each token has the value s and its own gradient, sg(s) pi / sg(pi): summed over a response whose tokens share one
    advantage and one weight, that is the gradient of the response's surrogate times its length.

    Source: GSPO, Zheng et al. 2025, arXiv 2507.18071: the objective, and its token form GSPO-token, which allows
    advantages by token. The paper averages over responses (sequence_mean_token_mean) with bounds near 3e-4: the mean of
    a response's log-ratios is far smaller than theirs.

    Returns:
        loss [N]; clipped [N] bool: where the clipped branch is the one taken.
    """
    log_ratios = (policy_logprobs - old_logprobs).detach()
    of_responses = torch.segment_reduce(log_ratios.double(), "mean", lengths=lengths).to(log_ratios.dtype)
    ratio = _ratio(of_responses.repeat_interleave(lengths) + (policy_logprobs - policy_logprobs.detach()))
    return _clipped(ratio, advantages, clip_low, clip_high, dual_clip)


def policy_gradient(policy_logprobs: torch.Tensor, advantages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss -A log pi: no ratio, no bound.

    Source: REINFORCE, Williams 1992; as used by RLOO, Ahmadian et al. 2024, arXiv 2402.14740, equation 6. It is meant
    for the policy that sampled: over several updates a step nothing corrects for how far the policy has gone.

    Returns:
        loss [N]; clipped [N] bool, nowhere.
    """
    return -advantages * policy_logprobs, torch.zeros_like(advantages, dtype=torch.bool)


def cispo(
    policy_logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss -sg(clip(w, 1 - clip_low, 1 + clip_high)) A log pi: the weight is bounded, and no token loses its gradient.

    Source: CISPO, MiniMax 2025, arXiv 2506.13585, equations 4 and 5. The paper bounds the weight from above alone,
    which is clip_low 1.

    Returns:
        loss [N]; clipped [N] bool: where the weight is at a bound.
    """
    ratio = _ratio((policy_logprobs - old_logprobs).detach())
    weight = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -weight * advantages * policy_logprobs, weight != ratio


def cpgd(
    policy_logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float | torch.Tensor,
    clip_high: float | torch.Tensor,
    drift_coefficient: float = 0.0,
    max_drift: float = 2.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss -min(l A, clip(l, ln(1 - clip_low), ln(1 + clip_high)) A) + drift, with the log-ratio l = policy - old.

    The gradient is -A grad log pi, with no ratio in it, until the bound on the side that A drives towards; there it is
    zero. drift is drift_coefficient sg(min(w - 1, max_drift)) log pi: the gradient of KL(old || policy), bounded; its
    value is no divergence, and at w = 1 it has neither.

    Source: CPGD, Liu et al. 2025, arXiv 2505.12504, practical implementation. Its authors' code has the first term as
    -min(log pi, old + ln(1 + clip_high)) A, and with max the other way round: the same gradient, A old apart in value.

    Args:
        clip_low, clip_high: below 1, and not negative; [N] where each token has its own, see `growing_bounds`.
        drift_coefficient: alpha, not negative.
        max_drift: c, above 0.

    Returns:
        loss [N]; clipped [N] bool: where the first term has no gradient.
    """
    log_ratio = policy_logprobs - old_logprobs
    low, high = _log_bounds(clip_low, clip_high, like=log_ratio)
    clipped = torch.where(advantages > 0, log_ratio > high, log_ratio < low) & (advantages != 0)
    loss = -advantages * torch.where(clipped, torch.where(advantages > 0, high, low), log_ratio)
    if drift_coefficient:
        drift = (_ratio(log_ratio.detach()) - 1).clamp(max=max_drift)
        loss = loss + drift_coefficient * drift * policy_logprobs
    return loss, clipped


def growing_bounds(lengths: torch.Tensor, tightness: float) -> torch.Tensor:
    """The share of CPGD's bounds that token i of a response y has: tightness + (1 - tightness) i / |y|, i from 1 on.

    Tight at the start, where a token decides all that follows, and whole at the end; tightness 1 is whole throughout.

    Source: CPGD, arXiv 2505.12504, the tight-to-loose clip.

    Args:
        tightness: lambda, in 0..1.

    Returns:
        [N] float32, in 0..1.
    """
    total = int(lengths.sum())
    starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    position = torch.arange(1, total + 1, device=lengths.device) - starts
    return tightness + (1 - tightness) * position / lengths.repeat_interleave(lengths)


def epoch_weights(
    previous_logprobs: torch.Tensor, old_logprobs: torch.Tensor, *, clip_low: float, clip_high: float
) -> torch.Tensor:
    """What multiplies the advantages in one pass of CPGD over a batch: clip(pi_previous / pi_old, 1 - low, 1 + high).

    Source: CPGD, arXiv 2505.12504, section 6.1, for several passes over the same responses.

    Args:
        previous_logprobs: [N], of the policy at the end of the pass before; in the first pass the old ones themselves.
        clip_low, clip_high: of the whole bounds.

    Returns:
        [N], without gradient; ones in the first pass.
    """
    return _ratio((previous_logprobs - old_logprobs).detach()).clamp(1 - clip_low, 1 + clip_high)


def _ratio(log_ratio: torch.Tensor) -> torch.Tensor:
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def _clipped(
    ratio: torch.Tensor, advantages: torch.Tensor, clip_low: float, clip_high: float, dual_clip: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    unclipped = -advantages * ratio
    bounded = -advantages * ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = torch.maximum(unclipped, bounded)
    clipped = bounded > unclipped
    if dual_clip is not None:
        ceiling = -advantages * dual_clip
        capped = (advantages < 0) & (loss > ceiling)
        loss, clipped = torch.where(capped, ceiling, loss), clipped | capped
    return loss, clipped


def _log_bounds(
    clip_low: float | torch.Tensor, clip_high: float | torch.Tensor, *, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    low = torch.as_tensor(clip_low, dtype=like.dtype, device=like.device)
    high = torch.as_tensor(clip_high, dtype=like.dtype, device=like.device)
    return torch.log1p(-low).expand_as(like), torch.log1p(high).expand_as(like)
