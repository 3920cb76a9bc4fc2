import subprocess
import sys
from pathlib import Path

import pytest

from tasks.failures import StageHung
from tasks.pipes import Pipes
from tasks.process import stop_group
from tasks.silence import Silence, descendants

# A process with a child; both say where they are when asked, and neither says anything by itself after that.
SCRIPT = """
import subprocess, sys, time
from rl_core.stacks import answer_with_stacks
def where_it_hangs(says=None):
    if says:
        print(says, flush=True)
    time.sleep(600)
answer_with_stacks()
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, "-c", sys.stdin.read(), "child"])
    print(child.pid, flush=True)
where_it_hangs("up" if len(sys.argv) > 1 else None)
"""


def test_silence_is_broken_by_any_line_and_without_a_bound_it_is_never_too_long(tmp_path: Path) -> None:
    silence = Silence("train 8k", None, tmp_path / "log")
    assert silence.seconds_left() == float("inf")
    assert Silence("train 8k", 60.0, tmp_path / "log").broken_by("a line") == "a line"


def listen(pipes: Pipes, silence: Silence, pid: int) -> None:
    """As a task does, until the process has ended or hangs."""
    while pipes.pump(silence.seconds_left()) is None:
        silence.end_if_too_long(pid, pipes)


def test_what_hangs_says_where_in_every_process_and_is_ended(tmp_path: Path) -> None:
    lines: list[str] = []
    silence = Silence("train 8k", 0.5, tmp_path / "log")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(SCRIPT.encode())
    process.stdin.close()
    with Pipes(process, lambda line, _: lines.append(silence.broken_by(line))) as pipes:
        while "up" not in lines:
            pipes.pump(0.1)
        child = int(next(line for line in lines if line.isdigit()))
        assert descendants(process.pid) == [child]
        with pytest.raises(StageHung, match=r"train 8k hangs: it said nothing for 0.5 s \(guard.max_silent_seconds\)"):
            listen(pipes, silence, process.pid)
        stop_group(process, pipes)
    assert sum("in where_it_hangs" in line for line in lines) == 2
