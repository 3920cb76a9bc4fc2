"""Progress of long work: a bar on a terminal, plain lines in a log, one JSON line per update under a task.

A task sets RL_CORE_PROGRESS=json and reads the lines that begin with MARK from the stage's standard output. Between
two of them there may be half an hour of work; `beat` then says that it goes on, and a task that hears nothing for
longer than `guard.max_silent_seconds` takes the stage for hung.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar

FORMAT_VARIABLE = "RL_CORE_PROGRESS"
MARK = "@progress "
BEAT = "@alive"
PLAIN_SECONDS = 5.0  # between two plain lines of the same work
BEAT_SECONDS = 10.0  # between two beats


@dataclass(frozen=True, slots=True)
class Update:
    """One moment of one piece of work."""

    work: str  # what is being done: "train 1-8k", "evaluate base"
    done: int
    total: int
    unit: str  # of done and total: "step", "response"
    note: str = ""  # what it waits for, when it waits
    values: dict[str, float] = field(default_factory=dict)  # figures worth seeing: reward, tokens per second

    @property
    def figures(self) -> str:
        """The values in words."""
        return "  ".join(f"{name} {_short(value)}" for name, value in self.values.items())

    def line(self) -> str:
        """The update as one line for a log."""
        parts = (f"{self.work}: {self.unit} {self.done}/{self.total}", self.figures, self.note)
        return "  ".join(part for part in parts if part)

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """The update in a line of a stage's output; None when the line is something else."""
        if not line.startswith(MARK):
            return None
        return cls(**json.loads(line.removeprefix(MARK)))


class _Beat:
    """Says under a task, now and then, that work goes on."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self) -> None:
        """To be called from within long loops, each time round: by a rank that hangs it is not."""
        now = time.monotonic()
        if now - self._last >= BEAT_SECONDS and os.environ.get(FORMAT_VARIABLE) == "json":
            self._last = now
            print(BEAT, flush=True)


beat = _Beat()


def _short(value: float) -> str:
    """Four digits that mean something, and no exponent where a person counts: 0.03516, 47.27, 12346."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


class Progress:
    """Reports how far one piece of work is. Use as a context manager."""

    def __init__(self, work: str, total: int, unit: str = "step", *, enabled: bool = True) -> None:
        self._work, self._total, self._unit, self._enabled = work, total, unit, enabled
        self._as_json = os.environ.get(FORMAT_VARIABLE) == "json"
        self._last_plain = float("-inf")
        self._bar: RichBar | None = None
        if enabled and not self._as_json and sys.stdout.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = RichBar(*columns, TextColumn("{task.fields[figures]}"), console=Console())

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
            self._bar.add_task(self._work, total=self._total, figures="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, note: str = "", **values: float) -> None:
        """Say that `done` of the total is done."""
        if not self._enabled:
            return
        update = Update(self._work, done, self._total, self._unit, note, values)
        if self._as_json:
            print(MARK + json.dumps(asdict(update)), flush=True)
        elif self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, figures=f"{update.figures}  {note}")
        elif done == self._total or time.monotonic() - self._last_plain >= PLAIN_SECONDS:
            self._last_plain = time.monotonic()
            print(update.line(), flush=True)
