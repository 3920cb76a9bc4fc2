"""Two trainings that take turns: each a process that is stopped while the other works.

A process writes one line to a file for each step. Its turn lasts until it has written a given number of lines; it is
then stopped where it is, and goes on from there in its next turn, so that no work escapes the clock.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from rl_core.process_guard import guarded, guarded_environment

POLL_SECONDS = 0.002
KIBIBYTE = 1024


class Contestant:
    """A training in a process group of its own, killed with this process, stopped or not."""

    def __init__(self, command: list[str], journal: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._journal, self._log = journal, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                guarded(command),
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**guarded_environment(), **environment},
                start_new_session=True,
            )

    def work_until(self, lines: int) -> float:
        """Let it work until its file has so many lines; the seconds that this took."""
        started = time.perf_counter()
        os.killpg(self._process.pid, signal.SIGCONT)
        while self._lines() < lines:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._log}: the training ended early, with {self._process.returncode}")
            time.sleep(POLL_SECONDS)
        os.killpg(self._process.pid, signal.SIGSTOP)
        return time.perf_counter() - started

    def finish(self) -> None:
        """Let it end by itself."""
        os.killpg(self._process.pid, signal.SIGCONT)
        if self._process.wait():
            raise RuntimeError(f"{self._log}: the training ended with {self._process.returncode}")

    def abandon(self) -> None:
        """End it where it has not ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def peak_memory_bytes(self) -> int:
        """Largest resident memory so far, summed over its processes."""
        return sum(_peak(process) for process in Path("/proc").glob("[0-9]*") if _session(process) == self._process.pid)

    def _lines(self) -> int:
        return self._journal.read_bytes().count(b"\n") if self._journal.exists() else 0


def _session(process: Path) -> int | None:
    try:
        return os.getsid(int(process.name))
    except ProcessLookupError:
        return None


def _peak(process: Path) -> int:
    try:
        status = (process / "status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return KIBIBYTE * next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
