"""What the parts of a run took: one file in `work/` for each process that worked on one, with its time and hardware.

The file is written when the work begins, again every half minute and at the end, so that of a process that was killed
no more than that is missing. Written by `python -m rl_core`, read by the report.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from rl_core.hardware import this_hardware
from rl_core.manifest import read_json, write_json

HEARTBEAT_SECONDS = 30.0
UNDER_WAY, DONE, FAILED = "under way", "done", "not done"  # a process that was killed stays under way
RECORDED_VARIABLE = "RL_CORE_WORK_RECORDED"  # tells the workers of torchrun that the process above them records


@contextmanager
def recorded(folder: Path, part: str) -> Iterator[None]:
    """Record the work of the block as a part of a run: by one process of those that do it together.

    Nothing is written before the run's own folder is there, so that a refused command leaves nothing behind.

    Args:
        folder: the run's `work` folder.
        part: as in the plan, "train 8k".
    """
    if RECORDED_VARIABLE in os.environ or os.environ.get("RANK", "0") != "0":
        yield
        return
    os.environ[RECORDED_VARIABLE] = "1"
    record = _Record(folder, part)
    ended, ticking = FAILED, threading.Event()
    ticker = threading.Thread(target=record.keep, args=(ticking,), daemon=True)
    record.write(UNDER_WAY)
    ticker.start()
    try:
        yield
        ended = DONE
    finally:
        ticking.set()
        ticker.join()
        record.write(ended)
        del os.environ[RECORDED_VARIABLE]


def read_work(folder: Path) -> list[dict[str, Any]]:
    """Every record that can be read, in the order in which the work began."""
    records = [read_json(file) for file in sorted(folder.glob("*.json"))]
    return [record for record in records if record is not None]


class _Record:
    """The file of this process."""

    def __init__(self, folder: Path, part: str) -> None:
        now = datetime.now(UTC)
        self._start = monotonic()
        self._file = folder / f"{now:%Y%m%dT%H%M%S}-{part.replace(' ', '-')}-{os.getpid()}.json"
        self._facts = {
            "part": part,
            "started_at": now.isoformat(timespec="seconds"),
            "hardware": this_hardware().as_json(),
        }

    def write(self, status: str) -> None:
        """Write it as of now, where the run's folder is there."""
        if self._file.parent.parent.is_dir():
            self._file.parent.mkdir(exist_ok=True)
            write_json(self._file, {**self._facts, "status": status, "seconds": round(monotonic() - self._start, 3)})

    def keep(self, ended: threading.Event) -> None:
        """Write it again and again until the work has ended."""
        while not ended.wait(HEARTBEAT_SECONDS):
            self.write(UNDER_WAY)
