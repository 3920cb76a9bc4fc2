"""A stage trained on a learned reward model beside a shaped reward, half and half, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rl_core.checkpoint.tensors import read_tensors
from rl_core.config import load_config
from rl_core.data.prepare import prepare_data
from rl_core.models.base import CACHE_VARIABLE, make_base_model
from rl_core.rewards import Scorer
from rl_core.run_dir import RunDir
from tests.rl_core.reward_models import save_reward_model

REPOSITORY = Path(__file__).resolve().parents[3]
# The base model has learned nothing, so that its answers differ in the learned reward alone.
OVERRIDES = (
    "embedded.train_problems=32", "embedded.test_problems=8", "data.probe_problems=8", "embedded.clean_loss=50",
    "embedded.mixed_steps=1", "embedded.hidden_size=16", "embedded.intermediate_size=16", "rollout.num_prompts=4",
    "rollout.num_samples=4", "algorithm.minibatch_sequences=8", "stages.0.steps=1", "validation.num_samples=1",
    "tracking.wandb=disabled", "tracking.rollouts_every_steps=1", "rollout.engine=transformers",
)  # fmt: skip
ROUNDING = 1e-5


@pytest.mark.slow
def test_a_stage_trains_on_a_reward_model_and_a_shaped_reward_half_and_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = save_reward_model(tmp_path / "judge", context_tokens=512)
    learned = {"name": "reward_model", "weight": 0.5, "kwargs": {"model": str(judge)}}
    rewards = "rewards=" + json.dumps([learned, {"name": "shaped", "weight": 0.5}])
    run = RunDir(tmp_path / "run", load_config(overrides=[*OVERRIDES, rewards]))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    prepare_data(run)
    make_base_model(run)
    done = subprocess.run(
        [sys.executable, "-m", "rl_core", "train", "--stage", "0", "--run-dir", str(run.root), *OVERRIDES, rewards],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    line = json.loads(run.stage(0).metrics.read_text().splitlines()[-1])
    assert (line["step"], line["unscored_count"]) == (1, 0)
    half = 0.5 * line["reward_reward_model_mean"] + 0.5 * line["reward_shaped_mean"]
    assert line["reward_mean"] == pytest.approx(half, abs=ROUNDING)
    assert line["grad_norm"] > 0

    rollouts = pd.read_parquet(run.stage(0).rollouts / "step_000001.parquet")
    prompt = run.config.data.prompt_template
    messages = [[{"role": "user", "content": prompt.replace("{problem}", text)}] for text in rollouts["problem"]]
    cut = [False] * len(rollouts)
    found = Scorer(run.config.rewards).score(
        list(rollouts["response"]), list(rollouts["answer"]), cut, messages=messages
    )
    assert [one.reward for one in found] == pytest.approx(list(rollouts["reward"]), abs=ROUNDING)
    assert len(set(rollouts["reward"])) > 4

    before = load_file(run.base / "model.safetensors")
    after = dict(read_tensors(run.stage(0).checkpoint(1) / "policy" / "weights"))
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.items() if name in before)
