import shlex
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import psutil
import pytest
from prefect.logging import disable_run_logger

from tasks import process
from tasks.failures import StageFailed
from tasks.pipes import Pipes
from tasks.process import run_command, stop_group


def start(script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def lines_of(script: str) -> list[tuple[str, bool]]:
    taken: list[tuple[str, bool]] = []
    child = start(script)
    with Pipes(child, lambda line, is_error: taken.append((line, is_error))) as pipes:
        assert pipes.pump() == 0
    return taken


def ends(pid: int, within_seconds: float) -> bool:
    """Whether a process does; one that waits for its new parent to take note has ended."""
    deadline = time.monotonic() + within_seconds
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def stopped(script: str) -> tuple[int, list[str]]:
    """Exit code and lines of a process that is stopped when it has said its first word."""
    taken: list[str] = []

    def take(line: str, _: bool) -> None:
        taken.append(line)
        if line == "up":
            raise KeyboardInterrupt

    child = start(script)
    with Pipes(child, take) as pipes:
        with pytest.raises(KeyboardInterrupt):
            pipes.pump()
        stop_group(child, pipes)
    return child.returncode, taken


def test_lines_arrive_whole_from_both_streams_and_the_last_one_without_an_end() -> None:
    script = "import sys, time; sys.stdout.write('on'); time.sleep(0.1); print('e'); sys.stderr.write('two\\nlast')"
    assert sorted(lines_of(script)) == [("last", True), ("one", False), ("two", True)]


def test_a_bar_that_redraws_itself_gives_lines_and_bytes_that_are_no_text_do_no_harm() -> None:
    script = "import sys; sys.stdout.buffer.write(b'10%\\r20%\\r\\n\\xff\\n')"
    assert lines_of(script) == [("10%", False), ("20%", False), ("\ufffd", False)]


def test_a_descendant_that_holds_the_pipe_does_not_hold_us() -> None:
    script = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
"""
    ((said, _),) = lines_of(script)
    descendant = psutil.Process(int(said))
    assert descendant.status() != psutil.STATUS_ZOMBIE
    descendant.kill()


@pytest.mark.parametrize("exit_code", [0, 1])
def test_what_a_stage_leaves_behind_ends_with_it(
    exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "left"
    script = f"""
import pathlib, subprocess
pathlib.Path({str(left)!r}).write_text(str(subprocess.Popen(["sleep", "60"]).pid))
raise SystemExit({exit_code})
"""
    monkeypatch.setenv("RL_CORE_COMMAND", shlex.join([sys.executable, "-c", script]))
    failing = nullcontext() if exit_code == 0 else pytest.raises(StageFailed)
    with disable_run_logger(), failing:
        run_command("train", ["train"], log=tmp_path / "train.log", key="train")
    assert ends(int(left.read_text()), within_seconds=10)


def test_a_group_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.3)
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    assert stopped(script) == (-signal.SIGKILL, ["up"])


def test_a_group_that_listens_may_finish_what_it_does_and_is_heard_to_the_end(tmp_path: Path) -> None:
    script = f"""
import pathlib, signal, sys, time
def stop(*_):
    for step in range(100):
        print("step", step, "saved " * 200)
    pathlib.Path({str(tmp_path / "checkpoint")!r}).touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("up")
time.sleep(60)
"""
    exit_code, lines = stopped(script)
    assert (exit_code, len(lines)) == (143, 101)
    assert (tmp_path / "checkpoint").exists()


def test_what_takes_longer_than_allowed_is_not_waited_for() -> None:
    child = start("import time; time.sleep(60)")
    with Pipes(child, lambda *_: None) as pipes:
        assert pipes.pump(0.2) is None
        assert child.poll() is None
        stop_group(child, pipes)
