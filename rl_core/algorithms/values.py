"""The value model's loss, and how much of the returns it explains.

Shapes: N response tokens of some sequences laid end to end; values are of the state before each token.
"""

import math

import torch


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, *, value_clip: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2) / 2, or (V - R)^2 / 2 without a bound.

    Source: the bound is of PPO's reference implementation (openai/baselines, ppo2), in the form that verl and TRL have;
    the paper, arXiv 1707.06347, equation 9, has the plain square.

    Args:
        values: [N], with gradient.
        old_values: [N], without: what the advantages were made with.
        returns: [N], without.
        value_clip: c, above 0; None bounds nothing.

    Returns:
        loss [N]; clipped [N] bool: where the clipped branch is the larger one, which has no gradient.
    """
    squared = (values - returns).square()
    if value_clip is None:
        return 0.5 * squared, torch.zeros_like(squared, dtype=torch.bool)
    bounded = (torch.clamp(values, old_values - value_clip, old_values + value_clip) - returns).square()
    clipped = bounded > squared
    return 0.5 * torch.where(clipped, bounded, squared), clipped


def explained_variance(
    returns_moments: tuple[float, float, float], errors_moments: tuple[float, float, float]
) -> float:
    """1 - variance(R - V) / variance(R): 1 is a perfect value model, 0 as good as a constant, below 0 worse.

    Args:
        returns_moments, errors_moments: count, sum and sum of squares of R and of R - V, as `advantages.moments` gives
            them, added up over micro-batches and ranks.

    Returns:
        At most 1; NaN where there are no returns, or all are alike.
    """
    of_returns, of_errors = _squares(returns_moments), _squares(errors_moments)
    return 1 - of_errors / of_returns if of_returns > 0 else math.nan


def _squares(moments: tuple[float, float, float]) -> float:
    """Sum of squared differences from the mean."""
    count, total, total_of_squares = moments
    return max(total_of_squares - total**2 / count, 0.0) if count else 0.0
