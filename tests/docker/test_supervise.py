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


def test_told_to_stop_the_run_saves_before_the_worker_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = supervised(WORKER, RUN, output=output)
        while "run: begun" not in log.read_text():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 7
    assert log.read_text().splitlines() == ["run: begun", "run: saved", "worker: stopped"]


def test_the_exit_code_is_the_workers(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output:
        assert supervised("raise SystemExit(5)", output=output).wait(60) == 5


def supervised(*arguments: str, output: object) -> "subprocess.Popen[bytes]":
    command = ["sh", DOCKER / "supervise.sh", sys.executable, "-c", *arguments]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # type: ignore[call-overload, no-any-return]
