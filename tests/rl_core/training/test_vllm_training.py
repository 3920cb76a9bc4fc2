"""Training with vLLM as the sampler: one rank, two under ZeRO-3, and two whose sampler is one model split in two.

Weights are compared by fingerprint at every step; a run in which they differ ends with exit code 3.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rl_core.cache import CACHE_VARIABLE
from rl_core.config import load_config
from rl_core.config.models import LoraConfig
from rl_core.data.prepare import prepare_data
from rl_core.models.base import make_base_model
from rl_core.models.lora import write_adapter
from rl_core.run_dir import RunDir
from tests.rl_core.training.adapters import adapter_of

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
STEPS = 3
# The base model has learned nothing, so that no response earns a reward: what trains it is the entropy.
OVERRIDES = (
    "embedded.train_problems=64", "embedded.test_problems=16", "data.probe_problems=8",
    "embedded.clean_loss=50", "embedded.mixed_steps=3",
    "embedded.hidden_size=64", "embedded.num_heads=2", "embedded.num_key_value_heads=2",
    "rollout.num_prompts=4", "rollout.num_samples=4", "optimizer.learning_rate=1e-3",
    "algorithm.minibatch_sequences=8", "algorithm.entropy_coefficient=0.05", f"stages.0.steps={STEPS}",
    "validation.num_samples=1", "tracking.wandb=disabled",
)  # fmt: skip
LAYOUTS = {
    "one rank": ("training.num_processes=1",),
    "two ranks, ZeRO-3": ("training.num_processes=2", "training.zero_stage=3"),
    "one sampler over two ranks": ("training.num_processes=2", "rollout.vllm.tensor_parallel_size=2"),
}
LORA = LoraConfig(rank=4, alpha=6)
# Adapters over them as well: no layouts of the others, since they train something else.
NEW, GOES_ON = "an adapter in one sampler over two ranks", "one that goes on with another"
ROUNDING = 1e-4
ALIKE = 0.02  # of every figure: a token that rounding decides otherwise changes what follows it


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("prepared"), load_config(overrides=OVERRIDES))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        prepare_data(run)
        make_base_model(run)
    return run


@pytest.fixture(scope="module")
def metrics(prepared: RunDir) -> dict[str, list[dict[str, Any]]]:
    """The lines of each layout's training."""
    folder = prepared.root / "adapter"
    folder.mkdir()
    write_adapter(folder, adapter_of(prepared.base, LORA, 0).tensors, LORA)
    new = {"rank": LORA.rank, "alpha": LORA.alpha}
    goes_on = {**new, "start": "adapter", "folder": str(folder)}
    over_both = LAYOUTS["one sampler over two ranks"]
    adapters = {
        NEW: (*over_both, "training.zero_stage=3", f"policy.lora={json.dumps(new)}"),
        GOES_ON: (*over_both, "training.zero_stage=2", f"policy.lora={json.dumps(goes_on)}"),
    }
    return {name: _train(prepared, *layout) for name, layout in (LAYOUTS | adapters).items()}


@pytest.mark.parametrize("layout", [*LAYOUTS, NEW, GOES_ON])
def test_sampler_and_learner_agree_at_every_step(metrics: dict[str, list[dict[str, Any]]], layout: str) -> None:
    steps = metrics[layout][1:]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    for line in steps:
        assert line["sampler_logprob_error_mean"] == pytest.approx(1, abs=ROUNDING)
        assert abs(line["sampler_kl"]) < ROUNDING
        assert line["grad_norm"] > 0
        assert 0 <= line["generate_tail_fraction"] <= 1


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "one rank"])
def test_how_the_work_is_laid_out_does_not_change_it(metrics: dict[str, list[dict[str, Any]]], layout: str) -> None:
    for one, other in zip(metrics["one rank"], metrics[layout], strict=True):
        for name in ("response_tokens_mean", "entropy_mean", "loss_policy", "grad_norm", "validation_reward_mean"):
            if one.get(name) is not None:
                assert other[name] == pytest.approx(one[name], rel=ALIKE), name


def test_a_sampler_over_more_ranks_than_there_are_is_refused(prepared: RunDir) -> None:
    done = _start(prepared, "training.num_processes=1", "rollout.vllm.tensor_parallel_size=2")
    assert done.returncode == 2
    assert "rollout.vllm.tensor_parallel_size is 2: it must divide the number of processes (1," in done.stderr


def _train(run: RunDir, *layout: str) -> list[dict[str, Any]]:
    done = _start(run, *layout)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    lines = run.stage(0).metrics.read_text().splitlines()
    for made in (run.stage(0).metrics, run.stage(0).summary):
        made.unlink()
    shutil.rmtree(run.stage(0).checkpoints)
    return [json.loads(line) for line in lines]


def _start(run: RunDir, *layout: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rl_core", "train", "--stage", "0", "--run-dir", str(run.root), *OVERRIDES]
    return subprocess.run(
        [*command, "rollout.engine=vllm", *layout],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
