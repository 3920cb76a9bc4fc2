"""Answers made to hang a grader or to fill its memory: what eight at a time cost it, and those that come after them.

A part of `benchmarks.grading`, which runs it in a process of its own: the first eight find nothing started.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.outcome import Row, Spread
from rl_core.rewards.answers import final_answer
from rl_core.rewards.grading.grader import Grader, Verdict

AT_ONCE = 8
NUM_ORDINARY = 1000
NEVER_ENDS = r"\prod_{k=1}^{100000000} k"
SAMPLE_SECONDS = 0.02  # between two looks at the memory

Pair = tuple[str | None, str]  # answer, gold


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one file; seconds are those until all verdicts were there."""

    cold: float  # eight that never end, where no grading process was started yet
    batches: Spread  # of eight of the file's answers, each batch once
    ordinary_before: float  # a thousand ordinary answers
    ordinary_after: float
    answers: int
    undecided: int
    contrary: int  # decided otherwise than the file says
    peak_bytes: int  # of this process's children together, what they share counted once

    def rows(self) -> list[Row]:
        """For the table."""
        seconds = {
            "eight that never end, nothing started yet": self.cold,
            f"eight of {self.answers} adversarial answers": self.batches,
            "a thousand ordinary answers, before": self.ordinary_before,
            "a thousand ordinary answers, after": self.ordinary_after,
        }
        return [{"what": what, "seconds": value} for what, value in seconds.items()]

    def as_json(self) -> dict[str, object]:
        """For the result file."""
        return {
            "cold_eight_seconds": round(self.cold, 2),
            "eight_seconds": self.batches,
            "thousand_ordinary_before_seconds": round(self.ordinary_before, 3),
            "thousand_ordinary_after_seconds": round(self.ordinary_after, 3),
            "answers": self.answers,
            "undecided": self.undecided,
            "contrary": self.contrary,
            "children_peak_gb": round(self.peak_bytes / 1e9, 2),
        }


def measure(file: Path) -> Outcome:
    """Grade a file of JSON lines with `response`, `gold` and `expected`, eight at a time; null expects nothing."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    pairs: list[Pair] = [(final_answer(row["response"]), row["gold"]) for row in rows]
    before = _seconds(_ordinary)
    verdicts: list[Verdict] = []
    batches = []
    with _children_memory() as memory:
        cold = _seconds(lambda: Grader().grade_many([(NEVER_ENDS, str(number)) for number in range(AT_ONCE)]))
        for start in range(0, len(pairs), AT_ONCE):
            started = time.perf_counter()
            verdicts += Grader().grade_many(pairs[start : start + AT_ONCE])
            batches.append(time.perf_counter() - started)
    decided = [(row["expected"], verdict.correct) for row, verdict in zip(rows, verdicts, strict=True)]
    return Outcome(
        cold=cold,
        batches=Spread.of(batches),
        ordinary_before=before,
        ordinary_after=_seconds(_ordinary),
        answers=len(rows),
        undecided=sum(correct is None for _, correct in decided),
        contrary=sum(None not in (expected, correct) and expected != correct for expected, correct in decided),
        peak_bytes=memory.peak_bytes,
    )


def _ordinary() -> None:
    verdicts = Grader().grade_many([(f"{number}/3", f"{2 * number}/6") for number in range(NUM_ORDINARY)])
    assert all(verdict.correct for verdict in verdicts), "each pair is one number, written twice"


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@dataclass(slots=True)
class _Memory:
    peak_bytes: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look until it has ended; what rises and falls between two looks is missed."""
        while not self.ended.wait(SAMPLE_SECONDS):
            children = psutil.Process().children(recursive=True)
            self.peak_bytes = max(self.peak_bytes, sum(map(_proportional_bytes, children)))


@contextmanager
def _children_memory() -> Iterator[_Memory]:
    memory = _Memory()
    watcher = threading.Thread(target=memory.watch)
    watcher.start()
    try:
        yield memory
    finally:
        memory.ended.set()
        watcher.join()


def _proportional_bytes(process: psutil.Process) -> int:
    """Its own pages, and of those that it shares its share; none where it has just been killed."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
