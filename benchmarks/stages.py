"""Stages of a run as its commands do them, and what their evaluations say."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_core.config import RecipeConfig, StageIndex
from rl_core.manifest import read_json, read_manifest
from rl_core.run_dir import RunDir

REPOSITORY = Path(__file__).resolve().parents[1]
TOLD = 4000  # last characters of the output of one that failed


def run_stage(stage: str, arguments: Sequence[str | Path]) -> float:
    """`python -m rl_core <stage> <arguments>`: the seconds that it took.

    Raises:
        RuntimeError: it ended with an error; the message has its last lines.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "rl_core", *stage.split(), *map(str, arguments)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{stage} ended with {done.returncode}:\n{done.stdout[-TOLD:]}")
    return time.perf_counter() - started


def evaluation_file(root: Path, config: RecipeConfig, index: StageIndex | None) -> Path:
    """Where the results of a stage's model are; of the base model's for None."""
    run = RunDir(root, config)
    model = read_manifest(run.base if index is None else run.stage(index).hf)
    assert model is not None, "a model that was evaluated has its manifest"
    return run.evaluation(model["digest"])


def evaluation(root: Path, config: RecipeConfig, index: StageIndex | None) -> Any:
    """Those results."""
    return read_json(evaluation_file(root, config, index))


def shares(results: Any) -> list[float]:
    """Of each problem the share of right answers."""
    return [row["num_correct"] / row["num_scored"] for row in results["problems"]]
