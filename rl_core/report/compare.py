"""Comparisons between the models of a run, and the smoothing of its curves: pure functions of plain numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl_core.evaluation.statistics import paired_difference
from rl_core.report.facts import Evaluation, Interval, Sample

RIGHT = 1.0  # what the verifier of an evaluation gives a right answer


def change(before: Evaluation, after: Evaluation) -> Interval | None:
    """Mean over problems of the change in the fraction solved, with its 95 % interval, pairing problem by problem.

    Pairing takes out how hard each problem is, so that the interval is narrower than those of the two models suggest.
    None where no problem was scored under both models, or they were asked different data sets, whose problems have
    nothing to do with each other.
    """
    if before.dataset_digest != after.dataset_digest:
        return None
    fractions = {row.index: row.num_correct / row.num_scored for row in before.problems if row.num_scored}
    shared = [row for row in after.problems if row.num_scored and row.index in fractions]
    estimate = paired_difference(
        [fractions[row.index] for row in shared], [row.num_correct / row.num_scored for row in shared]
    )
    return None if estimate.value is None else Interval(estimate.value, estimate.low, estimate.high)


@dataclass(frozen=True, slots=True)
class SolvedBeyond:
    """Problems solved by a response longer than a limit."""

    problems: int  # at least one right response is longer than the limit
    only_beyond: int  # of these: no right response is within the limit


def solved_beyond(samples: Sequence[Sample], limit_tokens: int) -> SolvedBeyond:
    """How many problems have a right response of more than `limit_tokens` tokens, and how many only such."""
    right = [sample for sample in samples if is_right(sample)]
    beyond = {sample.index for sample in right if sample.response_tokens > limit_tokens}
    within = {sample.index for sample in right if sample.response_tokens <= limit_tokens}
    return SolvedBeyond(len(beyond), len(beyond - within))


def is_right(sample: Sample) -> bool:
    """Whether the verifier accepted the answer. An unscored response is neither right nor wrong."""
    return sample.reward == RIGHT


def mean(values: Sequence[float]) -> float | None:
    """The mean of the finite values; None where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """The mean over `window` values around each, fewer at the ends; not-a-number where none is finite.

    Args:
        window: odd, at least 1.
    """
    reach = window // 2
    averages = [mean(values[max(0, at - reach) : at + reach + 1]) for at in range(len(values))]
    return [math.nan if average is None else average for average in averages]
