"""The command, its server and a stage as real processes, ended in every way there is."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE_SECONDS = 300.0  # for what takes five on an idle machine
STEP_SECONDS = 1.0


@pytest.fixture
def start(
    environment: dict[str, str], tmp_path: Path, run_dir: Path, hears_ctrl_c: None
) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the command in a process group of its own, as a shell does; ends what is left of it."""
    config = tmp_path / "one.yaml"
    started = []

    def go(**by_stage: dict[str, object]) -> "subprocess.Popen[str]":
        (run_dir / "stand_in.json").write_text(json.dumps(by_stage))
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.deepscaler_recipe", "--config", str(config), "--run-dir", str(run_dir)],
            env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0,
        )  # fmt: skip
        started.append(process)
        return process

    yield go
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    for left in processes_marked(tmp_path):
        os.kill(left, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("send", "exit_code"),
    [
        (lambda process: os.killpg(process.pid, signal.SIGINT), 130),  # Ctrl-C in a terminal
        (lambda process: process.send_signal(signal.SIGTERM), 143),
    ],
    ids=["ctrl-c", "sigterm"],
)
@pytest.mark.usefixtures("recipe")
def test_interrupted_it_lets_the_stage_save_leaves_nothing_running_and_says_how_to_continue(
    send: Callable[["subprocess.Popen[str]"], None],
    exit_code: int,
    start: Callable[..., "subprocess.Popen[str]"],
    run_dir: Path,
    tmp_path: Path,
) -> None:
    config = tmp_path / "one.yaml"
    config.write_text(config.read_text().replace("steps: 3", "steps: 1000"))  # none ends before it is asked to
    process = start(train={"seconds": STEP_SECONDS})
    wait_for(run_dir, "train 0 step 1")
    assert len(processes_marked(tmp_path)) >= 3, "the command, its server and the stage"
    send(process)
    _, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == exit_code
    assert "Traceback" not in error
    assert error.strip().endswith(f"-m flows.deepscaler_recipe --config {tmp_path}/one.yaml --run-dir {run_dir}")
    assert processes_marked(tmp_path) == []
    assert re.search(r"train 0 step \d+\ntrain 0 stopped\n$", (run_dir / "calls.log").read_text())

    again = shlex.split(error.strip().rpartition("continue with: ")[2])
    assert again[1:3] == ["-m", "flows.deepscaler_recipe"]


@pytest.mark.slow
@pytest.mark.usefixtures("recipe")
def test_killed_it_takes_everything_along_and_goes_on_where_it_was(
    start: Callable[..., "subprocess.Popen[str]"], run_dir: Path, tmp_path: Path
) -> None:
    process = start(train={"seconds": STEP_SECONDS})
    wait_for(run_dir, "train 0 step 2")
    process.kill()
    process.wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while processes_marked(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_marked(tmp_path) == []

    output, _ = start().communicate(timeout=PATIENCE_SECONDS)
    done = (run_dir / "calls.log").read_text().splitlines()
    assert done == [
        "download",
        "prepare",
        "warm-up",
        "evaluate None",
        "train 0 step 1",
        "train 0 step 2",
        "train 0 step 3",
        "convert 0",
        "evaluate 0",
        "report",
    ]
    assert "evaluate base: done already" in output
    assert "pass@1 0.200 [0.150, 0.250] (base) -> 0.300 [0.250, 0.350] (only)" in output
    assert output.strip().endswith(f"report: {run_dir}/report.md")
    assert processes_marked(tmp_path) == []


@pytest.mark.usefixtures("recipe")
def test_a_second_command_on_the_same_run_is_refused(
    start: Callable[..., "subprocess.Popen[str]"], run_dir: Path
) -> None:
    start(download={"exit": 1, "message": "the first command now waits before it tries again"})
    wait_for(run_dir, "download failed")
    second = start()
    _, error = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 2
    assert "another process is working on this run" in error


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize(
    ("asked", "exit_code", "message"),
    [
        ({"exit": 2, "message": "error: data.train: holds no rows"}, 2, "error: data.train: holds no rows"),
        ({"exit": 3, "message": "stopped: collapse at step 7"}, 3, "stopped: collapse at step 7"),
    ],
    ids=["mistake", "guard"],
)
def test_how_a_stage_ends_is_how_the_command_ends(
    asked: dict[str, object], exit_code: int, message: str, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = start(download=asked)
    _, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == exit_code
    assert error.strip() == message


def wait_for(run_dir: Path, line: str) -> None:
    """Wait until a stood-in stage has recorded a line."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    log = run_dir / "calls.log"
    while not (log.is_file() and line in log.read_text().splitlines()):
        assert time.monotonic() < deadline, f"waited for {line!r} in {log}"
        time.sleep(0.02)


def processes_marked(mark: Path) -> list[int]:
    """Living processes that inherited the mark of a test's environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"TEST_MARK={mark}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found
