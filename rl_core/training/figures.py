"""What a step's metrics say of its trained tokens: means and maxima over every micro-batch of every rank."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from rl_core.algorithms.values import explained_variance
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
        sums = dict(zip(names, world.sum([math.fsum(self.sums.get(name, ())) for name in names]), strict=True))
        counts = dict(zip(names, world.sum([float(self.counts.get(name, 0)) for name in names]), strict=True))
        means = {name: sums[name] / counts[name] if counts[name] else None for name in MEANS}
        means["value_explained_variance"] = _explained_variance(sums, counts)
        shares = world.gather(self.maxima)
        maxima = {name: _maximum([value for share in shares for value in share.get(name, ())]) for name in MAXIMA}
        return means | maxima


def _explained_variance(sums: Mapping[str, float], counts: Mapping[str, float]) -> float | None:
    """Of the returns by the values; None without a critic, or where all returns are one."""
    returns = counts["return_mean"], sums["return_mean"], sums["return_square_mean"]
    errors = counts["value_error_mean"], sums["value_error_mean"], sums["value_error_square_mean"]
    explained = explained_variance(returns, errors)
    return None if math.isnan(explained) else explained


def _maximum(values: list[float]) -> float | None:
    """NaN where one is NaN, which Python's own maximum may pass over."""
    return float(torch.tensor(values, dtype=torch.float64).max()) if values else None
