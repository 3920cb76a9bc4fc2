import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_core import devices
from rl_core.devices import devices_of, visible_devices

REPOSITORY = Path(__file__).resolve().parents[2]
GPUS = ["GPU-aaaa-1111", "GPU-bbbb-2222"]
HOLD = """
import sys, time
from rl_core import devices
devices.has_accelerator = lambda: True
with devices.devices_of(sys.argv[1]):
    print("has it", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs, as its driver's command tells it; the folder of its locks."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n" + "".join(f"echo {gpu}\n" for gpu in GPUS))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DEEPSCALER_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(devices, "has_accelerator", lambda: True)
    return tmp_path / "locks"


@pytest.fixture
def holders() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(what: str, holders: list["subprocess.Popen[str]"]) -> "subprocess.Popen[str]":
    """Another process that holds the devices it sees until its standard input ends."""
    command = [sys.executable, "-c", HOLD, what]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holders.append(process)
    return process


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (None, GPUS), ("1", GPUS[1:]), ("1,0", GPUS[::-1]), ("GPU-bbbb", GPUS[1:]), ("", []), ("-1", []),
        ("7", ["device-7"]),
    ],
)  # fmt: skip
def test_devices_have_the_same_names_however_they_are_asked_for(
    asked: str | None, seen: list[str], machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert visible_devices() == seen


def test_a_second_run_waits_says_for_whom_and_goes_on_when_the_first_is_killed(
    machine: Path, holders: list["subprocess.Popen[str]"]
) -> None:
    first = start("train of runs/one", holders)
    assert first_line(first) == "has it"
    second = start("train of runs/two", holders)
    assert first_line(second) == f"waiting for device {GPUS[0]}, which has: train of runs/one, process {first.pid}"
    first.kill()
    lines = [first_line(second)]
    while lines[-1].startswith("waiting"):
        lines.append(first_line(second))
    assert lines[-1] == "has it"


def test_runs_on_different_devices_do_not_wait(
    machine: Path, holders: list["subprocess.Popen[str]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in ("0", "1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", device)
        assert first_line(start(f"on {device}", holders)) == "has it"


def test_nothing_is_locked_without_an_accelerator_or_under_a_launcher(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    with devices_of("a rank"):
        assert not machine.exists()
    monkeypatch.delenv("RANK")
    with devices_of("a stage"):
        assert {file.stem for file in machine.iterdir()} == set(GPUS)
