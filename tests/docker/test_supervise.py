"""docker/supervise.sh with a worker that kills its run when it is told to stop, as Prefect's does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.docker.dockerfiles import DOCKER

RUN = """
import signal, sys, time
def save(*_):
    time.sleep(0.5)
    print("run: saved", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, save)
print("run: begun", flush=True)
time.sleep(60)
"""
WORKER = """
import signal, subprocess, sys, time
run = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
def stop(*_):
    run.kill()
    print("worker: stopped", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
while True:
    run.poll()
    time.sleep(0.05)
"""

# Two runs, the second one taken when the first one is told to stop, and the first one ends after the second has begun.
TWO_RUNS = """
import pathlib, signal, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
def save(*_):
    (folder / f"{name} told").touch()
    while not (folder / "second begun").exists():
        time.sleep(0.02)
    print(f"{name}: saved", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, save)
(folder / f"{name} begun").touch()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
time.sleep(20)
"""
BUSY_WORKER = """
import pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[2])
def take(name):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # a run is not told before it can listen
    runs.append(subprocess.Popen([sys.executable, "-c", sys.argv[1], name, str(folder)]))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
runs = []
take("first")
while True:
    if (folder / "first told").exists() and len(runs) == 1:
        take("second")
    [run.poll() for run in runs]
    time.sleep(0.05)
"""


def test_told_to_stop_the_run_saves_before_the_worker_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = supervised(WORKER, RUN, output=output)
        while "run: begun" not in log.read_text():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 7
    assert log.read_text().splitlines() == ["run: begun", "run: saved", "worker: stopped"]


def test_a_run_that_is_taken_while_another_one_saves_is_told_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = supervised(BUSY_WORKER, TWO_RUNS, str(tmp_path), output=output)
        while not (tmp_path / "first begun").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    saved = [line for line in log.read_text().splitlines() if line.endswith("saved")]
    assert sorted(saved) == ["first: saved", "second: saved"]


def test_the_exit_code_is_the_workers(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output:
        assert supervised("raise SystemExit(5)", output=output).wait(60) == 5


def supervised(*arguments: str, output: object) -> "subprocess.Popen[bytes]":
    command = ["sh", DOCKER / "supervise.sh", sys.executable, "-c", *arguments]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # type: ignore[call-overload, no-any-return]
