"""Memory that ran out, as torch tells it, and what a stage's command makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rl_core.errors import EXIT_OUT_OF_MEMORY, OutOfMemory
from rl_core.out_of_memory import is_out_of_memory

REPOSITORY = Path(__file__).resolve().parents[2]
RAISES = """
import os
if "RANK" in os.environ or not {ranks}:
    import torch
    from rl_core.training import launch
    def out(*_):
        if os.environ.get("RANK") == "1":
            import time
            time.sleep(600)  # it waits for the other, as in a collective
        {does}
    launch.train_stage = out
"""
OUT = 'raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")'
LAUNCH = """
from pathlib import Path
from rl_core.config import load_config
from rl_core.errors import OutOfMemory
from rl_core.run_dir import RunDir
from rl_core.training.launch import start_workers
run = RunDir(Path("run").resolve(), load_config())
try:
    start_workers(run, ["train", "--stage", "0"], run.stage(0), 2)
except (OutOfMemory, RuntimeError) as error:
    print(f"{type(error).__name__}: {error}")
"""


def test_what_torch_raises_on_a_cpu_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


def test_it_is_recognised_wherever_in_the_chain_of_causes() -> None:
    error = ValueError("a step failed")
    error.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert is_out_of_memory(error)
    assert is_out_of_memory(OutOfMemory("of a training process"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("a file about being out of memory"))


def environment(folder: Path, *, ranks: bool, does: str = OUT) -> dict[str, str]:
    """In which the training of a stage, or its ranks alone, run out of memory, or what is said."""
    (folder / "sitecustomize.py").write_text(RAISES.format(ranks=ranks, does=does))
    return {**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}"}


def test_a_stage_that_runs_out_ends_with_a_code_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rl_core", "train", "--stage", "0", "--run-dir", str(tmp_path / "run")],
        env=environment(tmp_path, ranks=False), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == EXIT_OUT_OF_MEMORY
    assert done.stderr.splitlines()[-1] == "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB"


def test_of_several_ranks_one_that_runs_out_is_enough(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH],
        env=environment(tmp_path, ranks=True), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "OutOfMemory: of a process: see its message above", done.stderr


def test_a_rank_that_is_lost_takes_the_others_along_and_is_named(tmp_path: Path) -> None:
    lost = environment(tmp_path, ranks=True, does="os.kill(os.getpid(), 9)")
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH], env=lost, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "RuntimeError: lost rank 0 (SIGKILL)", done.stderr
