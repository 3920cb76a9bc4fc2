"""What every benchmark shares: its arguments, repetitions that take turns, its table and its JSON."""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
TABLE_COLUMNS = 160  # a table that is not on a terminal keeps its lines whole up to here

Result = TypeVar("Result")
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Spread:
    """Repetitions of one measurement: on a shared machine the median alone says too little."""

    median: float
    low: float
    high: float
    repetitions: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        if self.repetitions == 1:
            return short(self.median)
        return f"{short(self.median)} ({short(self.low)} to {short(self.high)})"

    def as_json(self) -> dict[str, float]:
        """Its fields, for the result file."""
        return {"median": self.median, "min": self.low, "max": self.high, "repetitions": self.repetitions}


def arguments(name: str, documentation: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: `--json`, by default `benchmarks/results/<name>.json`."""
    summary = (documentation or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=summary)
    kept = RESULTS / f"{name}.json"
    kept_as = kept.relative_to(RESULTS.parents[1])
    parser.add_argument("--json", type=Path, default=kept, metavar="FILE", help=f"result file (default {kept_as})")
    return parser


def interleaved(works: Mapping[str, Callable[[], Result]], repetitions: int) -> dict[str, list[Result]]:
    """What each work returns, called in turns, so that what else the machine does falls on all of them alike."""
    results: dict[str, list[Result]] = {name: [] for name in works}
    for _ in range(repetitions):
        for name, work in works.items():
            results[name].append(work())
    return results


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Rows with the same keys, which are the headings; numbers are shortened, None is a dash."""
    table = Table(title=title, title_justify="left")
    for heading, value in rows[0].items():
        table.add_column(heading, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(shown(value) for value in row.values()))
    console = Console()
    (console if console.is_terminal else Console(width=TABLE_COLUMNS)).print(table)


def write_outcome(file: Path, figures: Mapping[str, object], circumstances: Mapping[str, object]) -> None:
    """The result file: the figures, and under what they were taken."""
    text = json.dumps({**figures, **circumstances}, indent=2, default=lambda value: value.as_json())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")
    print(f"written: {file}")


def shown(value: object) -> str:
    """A cell of a table."""
    if value is None:
        return "-"
    return short(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def short(value: float) -> str:
    """Three digits that mean something, whole numbers whole: 0.0352, 47.3, 12,346."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:.3g}"
