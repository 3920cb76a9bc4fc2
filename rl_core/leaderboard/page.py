"""The leaderboard as a page: what became worse, then the models of each benchmark and protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rl_core.evaluation.comparison import Comparison
from rl_core.leaderboard.board import Row
from rl_core.leaderboard.measured import Measured
from rl_core.leaderboard.plots import by_date, by_step
from rl_core.report.document import (
    Block,
    Bracketed,
    Bullets,
    Code,
    Heading,
    KeyFigure,
    KeyFigures,
    Paragraph,
    Picture,
    Strong,
    Table,
)
from rl_core.report.style import DARK, LIGHT
from rl_core.report.wording import ABSENT, count, interval

MAX_ROWS = 60  # of one table; the best ones, the parquet file has them all
LEAST_P_VALUE = 1e-9  # told as a number; the sums behind a smaller one are rounded
TEXT_COLUMNS = frozenset({0, 3, 5})
Asked = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """The blocks of a page, and its pictures for light and for dark pages by name."""

    blocks: list[Block]
    pictures: dict[str, tuple[bytes, bytes]]


def leaderboard_page(rows: Sequence[Row], left_out: Sequence[str], pass_asked: frozenset[Asked], rate: float) -> Page:
    """The page.

    Args:
        left_out: a sentence for each run or evaluation that could not be read.
        pass_asked: what the pass was about; these groups come first.
        rate: of false alarms.
    """
    groups: dict[Asked, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.measured.asked, []).append(row)
    ordered = sorted(groups.items(), key=lambda group: (group[0] not in pass_asked, -_newest(group[1])))
    blocks: list[Block] = [Heading(1, "Leaderboard"), *_headline(rows, groups, ordered[0][0] if ordered else None)]
    blocks += _regressions(rows)
    if left_out:
        blocks += [Paragraph([Strong("Left out:")]), Bullets([[sentence] for sentence in left_out])]
    pictures: dict[str, tuple[bytes, bytes]] = {}
    for number, (_, group) in enumerate(ordered, 1):
        blocks += _group(group, f"leaderboard-{number}", pictures)
    return Page([*blocks, *_how_it_was_judged(rows, rate)], pictures)


def _headline(rows: Sequence[Row], groups: Mapping[Asked, Sequence[Row]], first: Asked | None) -> list[Block]:
    """The numbers that stand for all of it; the best score is of the group that comes first."""
    if not rows or first is None:
        return [Paragraph(["Nothing has been evaluated yet."])]
    models = {(row.measured.series, row.measured.model_digest) for row in rows}
    series = {row.measured.series for row in rows}
    best = max((row.measured for row in groups[first]), key=lambda measured: measured.pass_at_1.value)
    judged = [row.verdict for row in rows if row.verdict is not None]
    fallen = sum(verdict.is_regression for verdict in judged)
    last = max(row.measured.evaluated_at for row in rows)
    told = f"{_many(len(models), 'model')}, {len(series):,} series; the last {last:%Y-%m-%d %H:%M} UTC"
    return [
        KeyFigures(
            [
                KeyFigure(f"best pass@1, {best.benchmark}", f"{best.pass_at_1.value:.3f}", _full_name(best)),
                KeyFigure("regressions", f"{fallen:,}", f"of {_many(len(judged), 'model')} judged"),
                KeyFigure("evaluations", f"{len(rows):,}", told),
            ]
        )
    ]


def _regressions(rows: Sequence[Row]) -> list[Block]:
    fallen = sorted(
        (row for row in rows if row.verdict and row.verdict.is_regression),
        key=lambda row: row.measured.evaluated_at,
        reverse=True,
    )
    items = [[Strong(_full_name(row.measured)), f" {sentence(row)}"] for row in fallen]
    return [Heading(2, "Regressions"), Bullets(items)] if items else []


def sentence(row: Row) -> str:
    """What is said of a regression."""
    verdict = row.verdict
    assert verdict is not None, "a regression was judged"
    difference, low, high = (
        f"{100 * value:+.1f}"
        for value in (verdict.difference, verdict.difference_low, verdict.difference_high)
        if value is not None
    )
    return (
        f"solves {row.measured.pass_at_1.value:.3f} of {row.measured.benchmark}, {difference} points against "
        f"{verdict.worse_than} (95 % from {low} to {high}; "
        f"p {_p_value(verdict.adjusted_p_value)} after correction, bound {verdict.false_alarm_rate:g})."
    )


def _p_value(value: float) -> str:
    """Two digits, down to where they mean nothing any more."""
    return f"{value:.2g}" if value >= LEAST_P_VALUE else f"below {LEAST_P_VALUE:g}"


def _group(rows: Sequence[Row], name: str, pictures: dict[str, tuple[bytes, bytes]]) -> list[Block]:
    """One benchmark under one protocol."""
    measured = rows[0].measured
    protocol = measured.protocol
    asked = f"{protocol.get('num_samples', '?')} samples at temperature {protocol.get('temperature', '?')}"
    limits = f"at most {protocol.get('max_new_tokens', '?')} tokens, top-p {protocol.get('top_p', '?')}"
    verifier = Code(str(protocol.get("verifier", "?")))
    dataset = [f"{measured.num_problems:,} problems (", Code(measured.dataset_digest), ")"]
    blocks: list[Block] = [
        Heading(2, f"{measured.benchmark}, {asked}"),
        Paragraph([*dataset, f", {limits}, verifier ", verifier, " (protocol ", Code(measured.protocol_digest), ")."]),
    ]
    if len({row.measured.model.position for row in rows}) > 1:
        pictures[f"{name}-steps"] = by_step(rows, LIGHT), by_step(rows, DARK)
        caption = "Problems solved by training step, with 95 % intervals; a ring marks a model that was judged worse."
        blocks.append(Picture(f"{name}-steps", "pass@1 by training step", caption))
    if len({row.measured.evaluated_at.date() for row in rows}) > 1:
        pictures[f"{name}-dates"] = by_date(rows, LIGHT), by_date(rows, DARK)
        caption = "The same evaluations by the date on which they were made, and the best score up to then."
        blocks.append(Picture(f"{name}-dates", "pass@1 by date", caption))
    return [*blocks, _table(rows), *_shortened(rows)]


def _table(rows: Sequence[Row]) -> Table:
    headers = [
        "model",
        "pass@1",
        "to the base, points",
        "best before it",
        "to that one, points",
        "verdict",
        "evaluated",
    ]
    best = sorted(rows, key=lambda row: row.measured.pass_at_1.value, reverse=True)[:MAX_ROWS]
    return Table(headers, [_cells(row) for row in best], TEXT_COLUMNS)


def _cells(row: Row) -> list[str]:
    measured = row.measured
    return [
        f"{measured.series}: {_unbroken(measured.model.name)}",
        interval(measured.pass_at_1),
        _difference(row.to_control),
        _unbroken(row.best_earlier.model.name) if row.best_earlier else ABSENT,
        _difference(row.to_best_earlier),
        _verdict(row),
        f"{measured.evaluated_at:%Y-%m-%d}",
    ]


def _full_name(measured: Measured) -> str:
    return f"{measured.series}: {measured.model.name}"


def _unbroken(name: str) -> str:
    """A name that a narrow column does not break."""
    return name.replace(" ", "\u00a0")


def _difference(value: Comparison | None) -> str:
    """In points: short enough for a narrow column."""
    if value is None:
        return ABSENT
    low, middle, high = (f"{100 * each:+.1f}" for each in (value.low, value.difference, value.high))
    return Bracketed(f"{middle} ({low} to {high})")


def _verdict(row: Row) -> str:
    if row.verdict is None:
        return ABSENT
    return Strong("regression") if row.verdict.is_regression else "no fall seen"


def _shortened(rows: Sequence[Row]) -> list[Block]:
    hidden = len(rows) - MAX_ROWS
    return [Paragraph([f"{count(hidden)} more, with lower scores, are in leaderboard.parquet."])] if hidden > 0 else []


def _how_it_was_judged(rows: Sequence[Row], rate: float) -> list[Block]:
    if not any(row.verdict for row in rows):
        return []
    text = (
        "Differences are paired by problem; in brackets are 95 % intervals over problems and samples. A model is "
        "judged once, in the first pass that finds its evaluation and the base model's: against the best model before "
        "it in its series and against the base model, by an exact one-sided test of the right answers to each problem. "
        "Its p-value counts for all the models that the best one was chosen from, and for all that are judged in the "
        "same pass (Holm). "
        f"So a pass in which no new model is worse flags one with a chance of at most {rate:g}."
    )
    return [Heading(2, "How it was judged"), Paragraph([text])]


def _newest(rows: Sequence[Row]) -> float:
    return max(row.measured.evaluated_at for row in rows).timestamp()


def _many(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"
