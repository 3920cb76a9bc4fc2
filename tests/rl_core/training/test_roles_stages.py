"""Two stages with four roles on one base, in processes of their own: from an adapter to an adapter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rl_core.checkpoint.convert import convert_stage
from rl_core.checkpoint.tensors import stored_tensors
from rl_core.config import check_config, dump_config, load_config
from rl_core.config.models import LoraConfig
from rl_core.config.rewards import RewardConfig
from rl_core.data.prepare import prepare_data
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.models.adapter_files import Adapter
from rl_core.models.base import CACHE_VARIABLE, make_base_model
from rl_core.models.lora import write_adapter
from rl_core.rewards import Scorer
from rl_core.run_dir import RunDir
from tests.rl_core.training.adapters import adapter_of
from tests.rl_core.training.shared_roles import merged, merged_classifier

REPOSITORY = Path(__file__).resolve().parents[3]
LORA, REWARD_LORA = LoraConfig(rank=3, alpha=5), LoraConfig(rank=2, alpha=3)
ROUNDING = 1e-4
# The base model has learned nothing, so that its answers differ in the learned reward and in their form alone.
OVERRIDES = (
    "embedded.train_problems=32", "embedded.test_problems=8", "data.probe_problems=8", "embedded.clean_loss=50",
    "embedded.mixed_steps=1", "embedded.hidden_size=16", "embedded.intermediate_size=16", "rollout.num_prompts=4",
    "rollout.num_samples=4", "algorithm.minibatch_sequences=8", "validation.num_samples=1",
    "optimizer.learning_rate=1e-2", "algorithm.baseline=critic", "algorithm.scale=none", "algorithm.kl_coefficient=0.1",
    "algorithm.kl_in=reward", "tracking.wandb=disabled", "tracking.rollouts_every_steps=1",
    "rollout.engine=transformers", "checkpoint.every_steps=1", "policy.gradient_checkpointing=true", "critic={}",
)  # fmt: skip


def recipe(folder: Path) -> Path:
    """A recipe's file: PPO with all roles on the base, from the adapter in `sft`, judged by the one in `rm`."""
    lora = {"rank": LORA.rank, "alpha": LORA.alpha}
    values = load_config(overrides=OVERRIDES).model_dump(mode="json")
    values["policy"]["lora"] = {**lora, "start": "adapter", "folder": str(folder / "sft")}
    values["critic"] = {"backbone": "shared", "lora": lora, "optimizer": {"learning_rate": 1e-2}}
    learned = {"model": str(folder / "rm"), "backbone": "shared"}
    values["rewards"] = [
        {"name": "reward_model", "weight": 0.5, "kwargs": learned},
        {"name": "shaped", "weight": 0.5},
    ]
    values["stages"] = [{**values["stages"][0], "name": name, "steps": 2} for name in ("a", "b")]
    file = folder / "recipe.yaml"
    file.write_text(dump_config(check_config(values, origin="here")))
    return file


def save_merged_reward_model(base: Path, folder: Path, first: Adapter, reward: Adapter) -> Path:
    """What the reward model is by itself: both adapters in its weights."""
    model = merged(first, AutoModelForCausalLM.from_pretrained(base))
    merged_classifier(reward, model).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def train(run: RunDir, file: Path, index: int) -> list[dict[str, Any]]:
    """The stage's metrics, a line for each step."""
    done = subprocess.run(
        [sys.executable, "-m", "rl_core", "train", "--config", str(file), "--run-dir", str(run.root),
         "--stage", str(index)],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in run.stage(index).metrics.read_text().splitlines()]


def assert_rewards_are(run: RunDir, index: int, judge: Path) -> None:
    """Half the merged reward model's own scores and half the shaped reward's, of the response alone."""
    scorer = Scorer([
        RewardConfig(name="reward_model", weight=0.5, kwargs={"model": str(judge)}),
        RewardConfig(name="shaped", weight=0.5),
    ])  # fmt: skip
    for step in (1, 2):
        rollouts = pd.read_parquet(run.stage(index).rollouts / f"step_{step:06d}.parquet")
        messages = [[{"role": "user", "content": problem}] for problem in rollouts["problem"]]
        found = scorer.score(
            list(rollouts["response"]), list(rollouts["answer"]), [False] * len(rollouts), messages=messages
        )
        assert [score.reward for score in found] == pytest.approx(list(rollouts["reward"]), abs=ROUNDING)
        assert len(set(rollouts["reward"])) > 4


@pytest.mark.slow
def test_two_stages_from_an_adapter_to_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for name in ("sft", "rm"):
        (tmp_path / name).mkdir()
    file = recipe(tmp_path)
    run = RunDir(tmp_path / "run", load_config(file))
    prepare_data(run)
    make_base_model(run)
    first, reward = adapter_of(run.base, LORA, 1), adapter_of(run.base, REWARD_LORA, 2)
    write_adapter(tmp_path / "sft", first.tensors, first.lora)
    write_adapter(tmp_path / "rm", reward.tensors, reward.lora)
    assert reward.head is not None
    save_file({"score.weight": reward.head}, tmp_path / "rm" / "score.safetensors")
    judge = save_merged_reward_model(run.base, tmp_path / "judge", first, reward)
    run = RunDir(tmp_path / "run", load_config(file))  # whose keys are of the adapters' content

    for index in (0, 1):
        start, one, two = train(run, file, index)
        # From the first step on the sampler has the adapter that the trainer begins with, and so has the reference.
        assert one["sampler_logprob_error_mean"] == pytest.approx(1, abs=ROUNDING)
        assert one["kl_ref_mean"] == pytest.approx(0, abs=ROUNDING)
        assert two["kl_ref_mean"] > ROUNDING
        assert start["probe_reward_mean"] is not None
        assert_rewards_are(run, index, judge)
        for part, expected in (("policy/weights", 28), ("critic/weights", 30), ("critic/optimizer", 60)):
            assert len(stored_tensors(run.stage(index).checkpoint(2) / part)) == expected
        convert_stage(run, index)

    for index, before in ((0, tmp_path / "sft"), (1, run.stage(0).adapter)):
        old, new = (load_file(folder / "adapter_model.safetensors") for folder in (before, run.stage(index).adapter))
        assert old.keys() == new.keys()
        assert not any(torch.equal(old[name], new[name]) for name in old)
    assert one["value_mean"] != 0, "the second stage's critic is the first one's"
