import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rl_core import __main__ as command
from rl_core import commands
from rl_core.hardware import Hardware, this_hardware
from rl_core.run_dir import RunDir
from rl_core.work import read_work, recorded

KILLED = """
import os, signal, sys
from pathlib import Path
from rl_core.work import recorded
with recorded(Path(sys.argv[1]), "train 8k"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def records(folder: Path) -> list[tuple[str, str]]:
    return [(record["part"], record["status"]) for record in read_work(folder)]


def test_a_part_is_recorded_with_its_end_its_time_and_its_hardware(tmp_path: Path) -> None:
    with recorded(tmp_path / "work", "train 8k"):
        assert records(tmp_path / "work") == [("train 8k", "under way")]
    (record,) = read_work(tmp_path / "work")
    assert (record["part"], record["status"]) == ("train 8k", "done")
    assert record["seconds"] >= 0
    assert Hardware(**record["hardware"]) == this_hardware()


def test_work_that_fails_is_recorded_as_not_done(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), recorded(tmp_path / "work", "data"):
        raise ZeroDivisionError
    assert records(tmp_path / "work") == [("data", "not done")]


def test_a_process_that_was_killed_leaves_its_record_without_an_end(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "work")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert records(tmp_path / "work") == [("train 8k", "under way")]


def test_workers_of_one_launch_are_recorded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recorded(tmp_path / "work", "train 8k"), recorded(tmp_path / "work", "train 8k"):
        pass
    monkeypatch.setenv("RANK", "1")
    with recorded(tmp_path / "work", "train 8k"):
        pass
    assert len(read_work(tmp_path / "work")) == 1


def test_nothing_is_made_where_there_is_no_run(tmp_path: Path) -> None:
    with recorded(tmp_path / "absent" / "work", "data"):
        pass
    assert not (tmp_path / "absent").exists()


def test_every_stage_but_the_report_is_recorded_under_the_name_that_the_plan_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def do(run: RunDir, _: object) -> None:
        assert run.root == tmp_path

    monkeypatch.setattr(commands, "STAGES", dict.fromkeys(commands.STAGES, (do, "")))
    for stage, *more in (["train", "--stage", "1"], ["evaluate"], ["prepare"], ["warm-up"], ["report"]):
        assert command.main([stage, "--run-dir", str(tmp_path), *more]) == 0
    parts = sorted(part for part, _ in records(tmp_path / "work"))
    assert parts == ["base model", "data", "evaluate base", "train 16k"]


def test_hosts_are_counted_from_the_variables_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "32")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert this_hardware().num_hosts == 4


def test_devices_are_accelerators_or_else_machines() -> None:
    assert Hardware("H100", 8, 2, "A processor", 16, 2**37).num_devices == 16
    assert Hardware(None, 0, 2, "A processor", 16, 2**37).num_devices == 2


def test_accelerators_are_those_that_nvidias_tool_names_and_the_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nfor n in 1 2 3 4; do echo 'NVIDIA H100 80GB HBM3'; done\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("rl_core.hardware.has_accelerator", lambda: True)
    assert (this_hardware().accelerator, this_hardware().num_accelerators) == ("NVIDIA H100 80GB HBM3", 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert this_hardware().num_accelerators == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert this_hardware().num_accelerators == 0
