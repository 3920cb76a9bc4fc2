"""What a step's metrics say of its trained tokens: means and maxima over every micro-batch of every rank."""

import math
from dataclasses import dataclass, field

import torch

from rl_core.world import World

MEANS = (
    "entropy_mean",
    "clip_fraction",
    "kl_old_mean",
    "kl_ref_mean",
    "sampler_logprob_error_mean",
    "sampler_kl",
    "correction_weight_mean",
    "correction_truncated_fraction",
    "correction_masked_fraction",
    "padding_fraction",
    "value_mean",
    "return_mean",
    "value_clip_fraction",
)
OF_VALUES = ("return_square_mean", "value_error_mean", "value_error_square_mean")  # for the variance explained
MAXIMA = ("sampler_logprob_error_max",)


@dataclass(slots=True)
class Figures:
    """What this rank has counted so far in one step. The order of counting does not show in the means."""

    sums: dict[str, list[float]] = field(default_factory=dict)  # one for each micro-batch
    counts: dict[str, int] = field(default_factory=dict)
    maxima: dict[str, list[float]] = field(default_factory=dict)  # one for each micro-batch

    def count(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        """Add the values where the mask is True to the mean `name`."""
        self.sums.setdefault(name, []).append(float(values[mask].double().sum()))
        self.counts[name] = self.counts.get(name, 0) + int(mask.sum())

    def count_maximum(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        """Let the values where the mask is True compete for the maximum `name`."""
        if mask.any():
            self.maxima.setdefault(name, []).append(float(values[mask].max()))

    def over_ranks(self, world: World) -> dict[str, float | None]:
        """Every figure over the tokens of all ranks; None where nothing was counted. A collective call."""
        names = MEANS + OF_VALUES
        sums = world.sum([math.fsum(self.sums.get(name, ())) for name in names])
        counts = world.sum([float(self.counts.get(name, 0)) for name in names])
        means = {name: total / count if count else None for name, total, count in zip(names, sums, counts, strict=True)}
        means["value_explained_variance"] = _explained_variance(means["return_mean"], *map(means.pop, OF_VALUES))
        shares = world.gather(self.maxima)
        maxima = {name: _maximum([value for share in shares for value in share.get(name, ())]) for name in MAXIMA}
        return means | maxima


def _explained_variance(
    return_mean: float | None, return_square: float | None, error: float | None, error_square: float | None
) -> float | None:
    """1 - Var[return - value] / Var[return]; None without a critic, or where all returns are one."""
    if return_mean is None or return_square is None or error is None or error_square is None:
        return None
    variance = return_square - return_mean**2
    return 1 - (error_square - error**2) / variance if variance > 0 else None


def _maximum(values: list[float]) -> float | None:
    """NaN where one is NaN, which Python's own maximum may pass over."""
    return float(torch.tensor(values, dtype=torch.float64).max()) if values else None
