"""What each evaluation is compared with, and which of the new ones became worse. Pure; no files, no drawing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rl_core.evaluation.comparison import Comparison, compare
from rl_core.leaderboard.false_alarms import adjusted, best_of
from rl_core.leaderboard.measured import Measured

Key = tuple[str, str, str, str, str]  # series, model digest, benchmark, dataset digest, protocol digest


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model became worse; said once, in the first pass that finds its evaluation."""

    judged_at: datetime
    num_judged: int  # models that were judged in that pass, which share its rate of false alarms
    false_alarm_rate: float
    p_value: float  # of the comparison, for the number of models that it was chosen from
    adjusted_p_value: float  # and for those that were judged in the same pass
    worse_than: str | None  # the model that it fell behind, as it was called then; None: none, as far as can be told
    # Of that model when this was said: a better one may have come before it since, or a stage have ended with it.
    worse_than_digest: str | None = None
    difference: float | None = None  # to it, with the ends of the 95 % interval
    difference_low: float | None = None
    difference_high: float | None = None

    @property
    def is_regression(self) -> bool:
        return self.worse_than is not None


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluation, and what it is compared with."""

    measured: Measured
    control: Measured | None = None  # the base model; None: this is it, or it was not asked the same
    to_control: Comparison | None = None
    best_earlier: Measured | None = None  # of the same series, asked the same
    to_best_earlier: Comparison | None = None
    num_candidates: int = 0  # models that the best one was chosen from, the control among them
    verdict: Verdict | None = None  # None: not judged, or nothing to compare with

    @property
    def key(self) -> Key:
        return self.measured.series, self.measured.model_digest, *self.measured.asked


def compared(series: Iterable[Measured]) -> list[Row]:
    """The evaluations of one series, each with the base model and with the best one before it.

    Args:
        series: in the order of training. Of two evaluations of one model that were asked the same, the first counts.
    """
    groups: dict[tuple[str, str, str], list[Measured]] = {}
    for measured in series:
        group = groups.setdefault(measured.asked, [])
        if all(other.model is not measured.model for other in group):
            group.append(measured)
    return [_row(measured, group[:at]) for group in groups.values() for at, measured in enumerate(group)]


def judged(
    rows: Sequence[Row], known: Mapping[Key, Verdict], *, ask: Callable[[Row], bool], rate: float, now: datetime
) -> list[Row]:
    """The rows with their verdicts: those that are known, and new ones for what this pass asks about.

    A model is a regression when it is worse than the best one before it or than the control, by the exact test of
    `comparison.compare`. As the best one is chosen by the same data, its p-value counts for all that it was chosen
    from; and Holm's adjustment covers all models that are judged in this pass. Where no new model is worse than any
    before it, a pass flags one with a chance of at most `rate`.

    Args:
        ask: whether a row is to be judged: of the benchmark and protocol that this pass is about, its control there.
            It may not depend on scores, or the rate would not hold.
    """
    kept = [replace(row, verdict=known.get(row.key)) for row in rows]
    new = [at for at, row in enumerate(kept) if row.verdict is None and row.num_candidates and ask(row)]
    p_values = [_p_value(kept[at]) for at in new]
    for at, p_value, in_pass in zip(new, p_values, adjusted(p_values), strict=True):
        verdict = Verdict(now, len(new), rate, p_value, in_pass, None)
        kept[at] = replace(kept[at], verdict=_behind(kept[at], verdict) if in_pass <= rate else verdict)
    return kept


def _row(measured: Measured, earlier: Sequence[Measured]) -> Row:
    if not earlier:
        return Row(measured)
    control = earlier[0] if earlier[0].model.kind == "base" else None
    best = max(earlier, key=lambda other: other.pass_at_1.value)  # of equal ones the earliest
    return Row(
        measured,
        control,
        compare(control.problems, measured.problems) if control else None,
        best,
        compare(best.problems, measured.problems),
        len(earlier),
    )


def _comparisons(row: Row) -> list[tuple[Comparison, Measured]]:
    """With the best one before it, then with the base model, as far as there are such."""
    pairs = ((row.to_best_earlier, row.best_earlier), (row.to_control, row.control))
    return [(to, other) for to, other in pairs if to is not None and other is not None]


def _p_value(row: Row) -> float:
    return best_of(min(to.p_worse for to, _ in _comparisons(row)), row.num_candidates)


def _behind(row: Row, verdict: Verdict) -> Verdict:
    """The verdict with the model that it fell behind, and by how much."""
    to, other = min(_comparisons(row), key=lambda pair: pair[0].p_worse)
    return replace(
        verdict,
        worse_than=other.model.name,
        worse_than_digest=other.model_digest,
        difference=to.difference,
        difference_low=to.low,
        difference_high=to.high,
    )
