"""Advantages from rewards: within a group of responses, or along the tokens of each response. Whitening is separate.

Shapes: P prompts, G responses per prompt; N response tokens of B responses laid end to end, `lengths` [B] long, each at
least 1, which sum to N. A reward that is NaN is unscored: in a group it enters no statistic, and its advantage is zero.
Along tokens NaN stays NaN within its own response, which is the caller's to leave out.
"""

from typing import Literal

import torch

Baseline = Literal["none", "group_mean", "leave_one_out"]
Scale = Literal["none", "group_std", "leave_one_out_std", "informative_share"]

MIN_STD = 1e-6  # a smaller spread is rounding of equal rewards
WHITEN_EPSILON = 1e-8  # verl's, on the variance
SUM_ROUNDING = 1e-12  # of sums in double precision over a step's tokens, in the share of the sum of squares


def group_relative(
    rewards: torch.Tensor, baseline: Baseline, scale: Scale, *, max_informative_weight: float = 3.0
) -> torch.Tensor:
    """Advantages A[p, g] = (r[p, g] - baseline) / spread, within each group p, or times one weight for all groups.

    none: the reward itself, with nothing subtracted, also in a group whose rewards are all equal.
    group_mean, group_std: over all scored responses of the group, with the unbiased estimate of the variance.
    leave_one_out, leave_one_out_std: over the other scored responses of the group.
    informative_share: times min(max_informative_weight, P / prompts whose scored rewards differ); 1 where none differ.

    Source: GRPO, Shao et al. 2024, arXiv 2402.03300, section 4.1.2 (group mean and standard deviation); RLOO, Ahmadian
    et al. 2024, arXiv 2402.14740, equation 7 (leave one out); informative share: CPGD, arXiv 2505.12504, there
    clip_filter_like_weight, which counts prompts above and below the line. The leave-one-out spread is NeMo RL's.
    Unlike the papers, no epsilon is added to the spread: where it is zero the difference stays undivided. That is zero
    as well, except with leave_one_out_std where only the others agree.

    Args:
        rewards: [P, G] float, any range; NaN where unscored. All prompts that share one weight are in one call.
        max_informative_weight: at least 1.

    Returns:
        [P, G] float. Zero for unscored responses. With a baseline also zero for groups with fewer than two scored ones
        (a group of one with group_mean, or with leave_one_out, which has no others), and where all are equal.
    """
    scored = ~rewards.isnan()
    values = rewards.double().nan_to_num(0.0)
    count = scored.sum(-1, keepdim=True)
    mean, variance = _group_moments(values, scored, count)
    differ = variance.sqrt() > MIN_STD
    if "leave_one_out" in (baseline, scale[: len("leave_one_out")]):
        others_mean, others_variance = _others_moments(values, scored, count)
    advantages = values
    if baseline != "none":
        advantages = values - (mean if baseline == "group_mean" else others_mean)
    if scale in ("group_std", "leave_one_out_std"):
        spread = (variance.expand_as(values) if scale == "group_std" else others_variance).clamp(min=0).sqrt()
        advantages = advantages / torch.where(spread > MIN_STD, spread, torch.ones_like(spread))
    if scale == "informative_share" and differ.any():
        advantages = advantages * min(max_informative_weight, len(rewards) / int(differ.sum()))
    usable = scored if baseline == "none" else scored & differ
    return torch.where(usable, advantages, torch.zeros_like(advantages)).to(rewards.dtype)


def at_last_token(rewards: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Each response's reward at its last token, zero before: [B] to [N], in the rewards' dtype."""
    ends = lengths.cumsum(0)
    token_rewards = rewards.new_zeros(int(ends[-1]))
    return token_rewards.index_copy(0, ends - 1, rewards)


def discounted_returns(token_rewards: torch.Tensor, lengths: torch.Tensor, discount: float) -> torch.Tensor:
    """Reward-to-go G[t] = r[t] + discount G[t + 1] within each response, zero behind its end.

    Source: REINFORCE++, Hu et al. 2025, arXiv 2501.03262, where the divergence's penalty is part of r; with discount 1
    and no such penalty every token of a response has its reward.

    Args:
        token_rewards: [N] float.
        discount: gamma, in 0..1.

    Returns:
        [N] float, in the rewards' dtype.
    """
    padded = _padded(token_rewards.double(), lengths)
    return _end_to_end(_accumulated(padded, discount), lengths).to(token_rewards.dtype)


def generalized_advantages(
    token_rewards: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor, discount: float, gae_lambda: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages A[t] = delta[t] + gamma lambda A[t + 1], delta[t] = r[t] + gamma V[t + 1] - V[t], and returns A + V.

    Behind the last token of a response both A and V are zero: a response ends there, whether by itself or by the limit.

    Source: GAE, Schulman et al. 2015, arXiv 1506.02438, equation 16. With lambda 1 the advantage is the discounted
    return minus the value; with 0 it is delta.

    Args:
        token_rewards: [N] float.
        values: [N], without gradient; of the state before each token.
        discount: gamma, in 0..1.
        gae_lambda: lambda, in 0..1.

    Returns:
        advantages [N], not whitened; returns [N], what the value model learns. In the values' dtype.
    """
    rewards, value = _padded(token_rewards.double(), lengths), _padded(values.double(), lengths)
    following = torch.nn.functional.pad(value[:, 1:], (0, 1))
    advantages = _accumulated(rewards + discount * following - value, discount * gae_lambda)
    returns = _end_to_end(advantages + value, lengths)
    return _end_to_end(advantages, lengths).to(values.dtype), returns.to(values.dtype)


def moments(values: torch.Tensor, mask: torch.Tensor) -> tuple[float, float, float]:
    """Count, sum and sum of squares of the values [N] where the mask [N] is True; what ranks add up for `whiten`."""
    chosen = values[mask].double()
    return float(chosen.numel()), float(chosen.sum()), float(chosen.square().sum())


def whiten(values: torch.Tensor, *, count: float, total: float, total_of_squares: float) -> torch.Tensor:
    """(A - mean) / sqrt(variance + 1e-8), with mean and unbiased variance from sums over all that is trained together.

    Where there is no spread (fewer than two values, or all alike) the mean is subtracted and nothing divided.

    Source: REINFORCE++, arXiv 2501.03262, global normalisation; epsilon and unbiased variance are verl's.

    Args:
        values: [N] float.
        count, total, total_of_squares: of `moments`, added up over micro-batches and ranks.

    Returns:
        [N] float, in the values' dtype.
    """
    if count < 1:
        return values.clone()
    mean = total / count
    squares = total_of_squares - count * mean**2
    centred = values.double() - mean
    if squares > SUM_ROUNDING * total_of_squares:
        centred = centred * (squares / (count - 1) + WHITEN_EPSILON) ** -0.5
    return centred.to(values.dtype)


def _group_moments(
    values: torch.Tensor, scored: torch.Tensor, count: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    mean = values.sum(-1, keepdim=True) / count.clamp(min=1)
    squares = torch.where(scored, (values - mean) ** 2, torch.zeros_like(values)).sum(-1, keepdim=True)
    return mean, squares / (count - 1).clamp(min=1)


def _others_moments(
    values: torch.Tensor, scored: torch.Tensor, count: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over the other scored responses of the group, for each response: [P, G]."""
    others = (count - 1).clamp(min=1)
    mean = (values.sum(-1, keepdim=True) - values) / others
    difference = values.unsqueeze(-2) - mean.unsqueeze(-1)  # [P, G, G]: of every response from each one's mean
    counted = scored.unsqueeze(-2) & ~torch.eye(values.shape[-1], dtype=torch.bool, device=values.device)
    squares = torch.where(counted, difference**2, torch.zeros_like(difference)).sum(-1)
    return mean, squares / (count - 2).clamp(min=1)


def _padded(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """[N] to [B, T], zero behind each response's end."""
    return torch.nn.utils.rnn.pad_sequence(values.split(lengths.tolist()), batch_first=True)


def _end_to_end(padded: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """[B, T] to [N]."""
    positions = torch.arange(padded.shape[1], device=padded.device)
    return padded[positions < lengths.to(padded.device)[:, None]]


def _accumulated(values: torch.Tensor, decay: float) -> torch.Tensor:
    """S[:, t] = values[:, t] + decay S[:, t + 1], from the last column backward: [B, T]."""
    running = values.new_zeros(values.shape[0])
    columns = []
    for column in reversed(values.unbind(1)):
        running = column + decay * running
        columns.append(running)
    return torch.stack(columns[::-1], dim=1)
