import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.turns import Contestant

NUM_LINES = 200  # of 0.01 s and more: all that a busy machine may be late by
PATIENCE_SECONDS = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]
WRITER = """
import sys, time
kept = bytearray(50_000_000)
for line in range(int(sys.argv[2])):
    time.sleep(0.01)
    open(sys.argv[1], "a").write(f"{line}\\n")
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Contestant]:
    contestant = start(tmp_path, NUM_LINES)
    yield contestant
    contestant.abandon()


def start(folder: Path, lines: int) -> Contestant:
    command = [sys.executable, "-c", WRITER, str(folder / "journal"), str(lines)]
    return Contestant(command, folder / "journal", folder / "log", {})


def lines(folder: Path) -> int:
    return (folder / "journal").read_text().count("\n")


def test_a_contestant_works_in_its_turn_and_not_between_turns(writer: Contestant, tmp_path: Path) -> None:
    writer.work_until(5)
    time.sleep(0.1)  # for the signal to arrive
    stopped_at = lines(tmp_path)
    time.sleep(0.3)
    assert 5 <= lines(tmp_path) == stopped_at < NUM_LINES
    assert writer.work_until(stopped_at + 5) > 0.03  # four pauses; the first one ended meanwhile
    assert stopped_at + 5 <= lines(tmp_path) < NUM_LINES
    assert 50e6 < writer.peak_memory_bytes() < 200e6
    writer.finish()
    assert lines(tmp_path) == NUM_LINES


OWNER = """
import sys, time
from pathlib import Path
from tests.benchmarks.test_turns import start
start(Path(sys.argv[1]), 10_000).work_until(3)
print("stopped", flush=True)
time.sleep(600)
"""


def test_a_stopped_contestant_does_not_outlive_the_benchmark(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"stopped\n"
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while holders(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert holders(tmp_path) == []


def holders(folder: Path) -> list[str]:
    """The processes that were told of this folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            commands.append((process / "cmdline").read_text())
    return [command for command in commands if str(folder) in command]


def test_a_training_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    contestant = start(tmp_path, 3)
    with pytest.raises(RuntimeError, match=r"log: the training ended early, with 0"):
        contestant.work_until(5)
