"""How long a stage may say nothing before it is taken for hung, and what is done then."""

import os
import time
from pathlib import Path

from rl_core.stacks import STACKS_SIGNAL
from tasks.display import say
from tasks.failures import StageHung
from tasks.pipes import Pipes

STACKS_SECONDS = 3.0  # for its processes together to write where they are
PROC = Path("/proc")


class Silence:
    """The silence of one stage: every line breaks it, of progress or of anything else."""

    def __init__(self, name: str, bound: float | None, log: Path) -> None:
        self._name, self._bound, self._log = name, bound, log
        self._since = time.monotonic()

    def broken_by(self, line: str) -> str:
        """Take notice of a line, and pass it on."""
        self._since = time.monotonic()
        return line

    def seconds_left(self) -> float:
        """Until it has been too long."""
        return float("inf") if self._bound is None else self._bound - (time.monotonic() - self._since)

    def end_if_too_long(self, pid: int, pipes: Pipes) -> None:
        """Have the stage's processes say where they are, and raise.

        Raises:
            StageHung: the silence has been too long; whoever catches it ends the stage.
        """
        if self.seconds_left() > 0:
            return
        said = f"{self._name} hangs: it said nothing for {self._bound:g} s (guard.max_silent_seconds)"
        say(f"{said}; its processes write where they are to {self._log}")
        processes = (pid, *descendants(pid))
        for each in processes:  # one after the other: they share a pipe, and write in pieces
            _ask_for_stacks(each)
            pipes.pump(STACKS_SECONDS / len(processes))
        raise StageHung(f"{said} and was ended; where its processes were is at the end of {self._log}")


def descendants(pid: int) -> list[int]:
    """The processes below a process, as far as they have not been adopted by another."""
    children: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(folder.name))
    found = list(children.get(pid, []))
    for each in found:  # grows while it is walked through
        found += children.get(each, [])
    return found


def _ask_for_stacks(pid: int) -> None:
    """Only a process that answers: the signal would end any other."""
    try:
        status = dict(line.split(":\t", 1) for line in (PROC / str(pid) / "status").read_text().splitlines())
        if int(status["SigCgt"], 16) >> (STACKS_SIGNAL - 1) & 1:
            os.kill(pid, STACKS_SIGNAL)
    except (OSError, KeyError, ValueError):
        return
