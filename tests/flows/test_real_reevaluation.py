"""A re-evaluation with nothing stood in for: a small real run, its checkpoints, a planted regression, a real server."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from rl_core.config import load_config
from rl_core.leaderboard.files import BoardFiles
from rl_core.manifest import publishing, read_manifest
from rl_core.opening import open_run
from rl_core.run_dir import RunDir

pytestmark = pytest.mark.proof  # minutes, with a worker and a server of its own

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = """
name: one
data: {train: {source: embedded}, test: {source: embedded}, prompt_template: "{problem}", probe_problems: 8}
embedded: {train_problems: 96, test_problems: 32}
policy: {model_name: embedded, dtype: float32}
rollout: {engine: transformers, num_prompts: 4, num_samples: 4}
algorithm: {minibatch_sequences: 8}
optimizer: {learning_rate: 1.0e-5}
checkpoint: {every_steps: 2, export_dtype: float32}
validation: {num_samples: 1}
tracking: {wandb: disabled}
evaluation: {protocol: {num_samples: 4, temperature: 0.6, top_p: 1.0, max_new_tokens: 48}}
stages:
  - {name: 8k, steps: 4, max_prompt_tokens: 64, max_response_tokens: 32}
  - {name: 16k, steps: 4, max_prompt_tokens: 64, max_response_tokens: 48}
"""
UNTAUGHT = ["embedded.clean_loss=50", "embedded.mixed_steps=10"]  # a base model at once, which solves nothing
NOISE = 1.0  # of the planted model's weights, in standard deviations of each tensor


def test_checkpoints_are_converted_and_evaluated_once_whoever_asks(tmp_path: Path, environment: dict[str, str]) -> None:
    real = without_stand_ins(environment, tmp_path)
    run = trained(tmp_path / "runs" / "one", tmp_path, real, *UNTAUGHT)
    reevaluate(tmp_path / "runs", real, ends_with=0)
    assert [row["model"] for row in rows_of(tmp_path / "runs")] == ["base", "8k step 2", "8k step 4"]
    assert not (run.stage(0).root / "converted").exists()

    # The recipe goes on: what it now ends its stage with is the model that was evaluated before.
    said = [stage_of(run, stage, "--stage", "0", environment=real) for stage in ("convert", "evaluate")]
    assert "8k: already evaluated" in said[1]
    reevaluate(tmp_path / "runs", real, ends_with=0)
    assert [row["model"] for row in rows_of(tmp_path / "runs")] == ["base", "8k step 2", "8k"]


def test_a_planted_regression_is_caught(tmp_path: Path, environment: dict[str, str]) -> None:
    real = without_stand_ins(environment, tmp_path)
    run = trained(tmp_path / "runs" / "one", tmp_path, real)
    stage_of(run, "convert", "--stage", "0", environment=real)
    plant(run)
    done = reevaluate(tmp_path / "runs", real, ends_with=3)
    assert "stopped: 1 became worse:\n  one: 16k solves 0.0" in done.stderr
    rows = rows_of(tmp_path / "runs")
    assert [(row["model"], row["regression"]) for row in rows if row["kind"] != "checkpoint"] == [
        ("base", None), ("8k", False), ("16k", True),
    ]  # fmt: skip


def without_stand_ins(environment: dict[str, str], folder: Path) -> dict[str, str]:
    real = {name: value for name, value in environment.items() if name != "RL_CORE_COMMAND"}
    return {**real, "DEEPSCALER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


def reevaluate(runs: Path, environment: dict[str, str], *, ends_with: int) -> "subprocess.CompletedProcess[str]":
    done = command("flows.reevaluate", "--runs", str(runs), "--fail-on-regression", environment=environment)
    assert done.returncode == ends_with, done.stdout[-2000:] + done.stderr[-3000:]
    return done


def trained(root: Path, folder: Path, environment: dict[str, str], *overrides: str) -> RunDir:
    """A run whose first stage is trained, and not converted yet."""
    file = folder / "one.yaml"
    file.write_text(RECIPE)
    with open_run(load_config(file, overrides), root) as run:
        for stage in ("prepare", "warm-up"):
            stage_of(run, stage, environment=environment)
        stage_of(run, "train", "--stage", "0", environment=environment)
    return run


def plant(run: RunDir) -> None:
    """A model of the second stage: that of the first, with its weights shaken."""
    before, torch_seed = run.stage(0).hf, torch.Generator().manual_seed(0)
    with publishing(run.stage(1).hf, key=run.keys.hf(1)) as folder:
        for file in before.iterdir():
            if file.is_file() and file.suffix != ".safetensors" and file.name != "manifest.json":
                shutil.copyfile(file, folder / file.name)
        weights = {
            name: tensor + NOISE * tensor.std() * torch.randn(tensor.shape, generator=torch_seed)
            for name, tensor in load_file(before / "model.safetensors").items()
        }
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert read_manifest(run.stage(1).hf) is not None


def stage_of(run: RunDir, stage: str, *arguments: str, environment: dict[str, str]) -> str:
    asked = ["--config", str(run.config_file), "--run-dir", str(run.root), *arguments]
    done = command("rl_core", stage, *asked, environment=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def command(module: str, *arguments: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def rows_of(runs: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(BoardFiles(runs).table).to_pylist()
    assert json.loads(BoardFiles(runs).alarms.read_text()) is not None
    return rows
