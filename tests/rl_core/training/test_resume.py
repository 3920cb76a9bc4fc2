"""A stage that is killed, or asked to stop, and run again ends where an undisturbed one ends: bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from rl_core.cache import CACHE_VARIABLE
from rl_core.checkpoint.tensors import read_tensors
from rl_core.config import load_config
from rl_core.data.prepare import prepare_data
from rl_core.models.base import make_base_model
from rl_core.run_dir import RunDir, StageDir

REPOSITORY = Path(__file__).resolve().parents[3]
STEPS = 11
# The base model has learned nothing, so that no response earns a reward: what trains it are entropy and divergence.
OVERRIDES = (
    "embedded.train_problems=64", "embedded.test_problems=16", "data.probe_problems=8",
    "embedded.clean_loss=50", "embedded.mixed_steps=3", "embedded.hidden_size=32", "embedded.intermediate_size=48",
    "rollout.num_prompts=4", "rollout.num_samples=4", "optimizer.learning_rate=1e-2",
    "algorithm.minibatch_sequences=8", "algorithm.kl_coefficient=0.05", "algorithm.entropy_coefficient=0.05",
    f"stages.0.steps={STEPS}", "checkpoint.every_steps=3", "validation.every_steps=4", "validation.num_samples=1",
    "tracking.wandb=disabled", "tracking.rollouts_every_steps=3",
)  # fmt: skip
OF_ALGORITHMS = {
    "PPO": (
        "algorithm.baseline=critic", "algorithm.scale=none", "critic={}", "critic.warmup_steps=1",
        "algorithm.kl_in=reward", "algorithm.kl_target=1e-3", "algorithm.kl_horizon=100",
    ),
    "PPO on one base": (
        "algorithm.baseline=critic", "algorithm.scale=none", "algorithm.kl_coefficient=0.05",
        "policy.lora={rank: 4, alpha: 8, start: adapter}", "critic={backbone: shared, lora: {rank: 2, alpha: 4}}",
    ),
    "PPO with a head on the policy": (
        "algorithm.baseline=critic", "algorithm.scale=none", "critic={backbone: policy_hidden}",
    ),
    "dynamic sampling": ("algorithm.dynamic_sampling=3",),
}  # fmt: skip
DEADLINE_SECONDS = 120.0
OF_THE_SPLIT = ("padding_fraction", "generate_tail_fraction")  # figures that how work is shared out decides
TWO_RANKS = 1e-3  # of every figure in three steps: rounding, after updates that AdamW makes of any gradient's size


def of_time_or_memory(name: str) -> bool:
    return name.endswith(("_seconds", "_per_second", "_bytes", "_tail_fraction"))


def start(run: RunDir, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rl_core", "train", "--stage", "0", "--run-dir", str(run.root), *OVERRIDES, *more],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: RunDir, *more: str) -> str:
    """Run the stage to its end; what it said."""
    process = start(run, *more)
    said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, said
    return said


def send_after_step(run: RunDir, number: signal.Signals, step: int, *more: str) -> tuple[int, str]:
    """Start the stage and send it a signal once it has written a line for `step`; its exit code and what it said."""
    process, metrics = start(run, *more), run.stage(0).metrics
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (not metrics.exists() or len(metrics.read_text().splitlines()) < step + 1) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.send_signal(number)
    said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, said


def run_disturbed(run: RunDir, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the stage as `disturbed_training` does."""
    program = [sys.executable, "-m", "tests.rl_core.training.disturbed_training"]
    return subprocess.run(
        [*program, "train", "--stage", "0", "--run-dir", str(run.root), *OVERRIDES],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )


def lines(stage: StageDir) -> list[dict[str, Any]]:
    """The metrics, without what depends on the clock or the memory."""
    return [
        {name: value for name, value in json.loads(line).items() if not of_time_or_memory(name)}
        for line in stage.metrics.read_text().splitlines()
    ]


def state_of(checkpoint: Path) -> dict[str, Any]:
    """The trainer's own, without the line of metrics in it."""
    state = json.loads((checkpoint / "trainer" / "state.json").read_text())
    return {name: value for name, value in state.items() if name != "metrics"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("prepared"), load_config(overrides=OVERRIDES))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        prepare_data(run)
        make_base_model(run)
    return run


@pytest.fixture(scope="module")
def undisturbed(prepared: RunDir, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = copy_of(prepared, tmp_path_factory.mktemp("undisturbed"))
    finish(run)
    return run


def copy_of(run: RunDir, root: Path) -> RunDir:
    shutil.copytree(run.root, root, dirs_exist_ok=True)
    return RunDir(root, run.config)


def assert_same_end(got: RunDir, expected: RunDir, *, steps: int = STEPS) -> None:
    """Equal weights, moments, state, metrics, responses and summary."""
    stage, wanted = got.stage(0), expected.stage(0)
    checkpoint, wanted_checkpoint = stage.checkpoint(steps), wanted.checkpoint(steps)
    assert state_of(checkpoint) == state_of(wanted_checkpoint)
    critic = ("critic/weights", "critic/optimizer") if (wanted_checkpoint / "critic").exists() else ()
    for part in ("policy/weights", "trainer/optimizer", *critic):
        tensors = dict(read_tensors(wanted_checkpoint / part))
        names = []
        for name, tensor in read_tensors(checkpoint / part):
            assert torch.equal(tensor, tensors[name]), name
            names.append(name)
        assert sorted(names) == sorted(tensors)
    assert lines(stage) == lines(wanted)
    assert json.loads(stage.summary.read_text()) == json.loads(wanted.summary.read_text())
    files = sorted(path.name for path in wanted.rollouts.iterdir())
    assert sorted(path.name for path in stage.rollouts.iterdir()) == files
    for file in files:
        pd.testing.assert_frame_equal(pd.read_parquet(stage.rollouts / file), pd.read_parquet(wanted.rollouts / file))


def test_an_undisturbed_stage_trains_and_leaves_what_the_contract_says(undisturbed: RunDir) -> None:
    stage = undisturbed.stage(0)
    assert [line["step"] for line in lines(stage)] == list(range(STEPS + 1))
    assert all(line["grad_norm"] > 0 for line in lines(stage)[1:])
    assert [path.name for path in sorted(stage.checkpoints.iterdir())] == ["step_000009", "step_000011"]
    assert [path.name for path in sorted(stage.rollouts.iterdir())] == [
        f"step_{step:06d}.parquet" for step in (3, 6, 9, 11)
    ]
    measured = [line["step"] for line in lines(stage) if "probe_reward_mean" in line]
    assert measured == [0, 4, 8, 11]
    summary = json.loads(stage.summary.read_text())
    assert (summary["status"], summary["steps"], summary["checkpoint"]) == (
        "complete", STEPS, "checkpoints/step_000011",
    )  # fmt: skip
    state = json.loads((stage.checkpoint(STEPS) / "trainer" / "state.json").read_text())
    assert (state["step"], state["policy_version"], state["optimizer_steps"]) == (STEPS, STEPS, 2 * STEPS)
    assert state["data"] == {"position": 4 * STEPS, "epoch": 4 * STEPS // 56}


def test_a_finished_stage_is_not_trained_again(undisturbed: RunDir) -> None:
    before = undisturbed.stage(0).metrics.read_bytes()
    assert "already trained" in finish(undisturbed)
    assert undisturbed.stage(0).metrics.read_bytes() == before


@pytest.mark.slow
def test_a_killed_stage_ends_bit_for_bit_where_an_undisturbed_one_ends(
    undisturbed: RunDir, prepared: RunDir, tmp_path: Path
) -> None:
    run = copy_of(prepared, tmp_path)
    step = random.SystemRandom().randrange(1, STEPS)
    print(f"killed after step {step}")  # shown where the test fails
    code, said = send_after_step(run, signal.SIGKILL, step)
    assert code == -signal.SIGKILL, said
    said = finish(run)
    if step > 3:
        assert "continues after step" in said
    assert_same_end(run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("settings", OF_ALGORITHMS.values(), ids=OF_ALGORITHMS)
def test_what_only_some_algorithms_keep_is_kept_by_a_killed_stage(
    prepared: RunDir, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    steps, (undisturbed, killed) = 4, (copy_of(prepared, tmp_path / name) for name in ("undisturbed", "killed"))
    settings = (*settings, f"stages.0.steps={steps}", "checkpoint.every_steps=1")
    finish(undisturbed, *settings)
    code, said = send_after_step(killed, signal.SIGKILL, 2, *settings)
    assert code == -signal.SIGKILL, said
    assert "continues after step" in finish(killed, *settings)
    assert_same_end(killed, undisturbed, steps=steps)
    state = state_of(undisturbed.stage(0).checkpoint(steps))
    if "critic={}" in settings:
        assert state["critic_optimizer_steps"] == 2 * steps
        assert state["optimizer_steps"] == 2 * (steps - 1)  # the critic's first step is its own
        assert state["kl_coefficient"] != 0.05
    if "algorithm.dynamic_sampling=3" in settings:  # the base model earns nothing: every step draws to its bound
        assert state["data"]["position"] == 3 * 4 * steps


@pytest.mark.slow
def test_a_stage_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(
    undisturbed: RunDir, prepared: RunDir, tmp_path: Path
) -> None:
    run, step = copy_of(prepared, tmp_path), 9
    killed = run_disturbed(run, KILLED_STEP=str(step))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checkpoint = run.stage(0).checkpoint(step)
    assert checkpoint.with_name(f"{checkpoint.name}.partial").is_dir()
    assert not checkpoint.exists()
    with run.stage(0).metrics.open("a") as metrics:  # as if the write had taken two steps more
        metrics.writelines(json.dumps({"step": later, "reward_mean": -1.0}) + "\n" for later in (step + 1, step + 2))
    assert f"continues after step {step - 3}" in finish(run)
    assert_same_end(run, undisturbed)
    assert [path.name for path in sorted(run.stage(0).checkpoints.iterdir())] == ["step_000009", "step_000011"]


@pytest.mark.slow
def test_a_stage_that_is_asked_to_stop_saves_the_step_under_way_and_goes_on_from_there(
    undisturbed: RunDir, prepared: RunDir, tmp_path: Path
) -> None:
    run = copy_of(prepared, tmp_path)
    code, said = send_after_step(run, signal.SIGTERM, 4)
    assert code == 143, said
    last = lines(run.stage(0))[-1]["step"]
    assert 4 <= last < STEPS
    assert run.stage(0).checkpoint(last).is_dir()
    assert not run.stage(0).summary.exists()
    # As if it had been killed after the checkpoint and before the line.
    metrics = run.stage(0).metrics
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:-1]))
    assert f"continues after step {last}" in finish(run)
    assert_same_end(run, undisturbed)


@pytest.mark.slow
def test_a_stage_whose_sampler_disagrees_stops_before_it_learns_from_it_and_goes_on_under_another_bound(
    undisturbed: RunDir, prepared: RunDir, tmp_path: Path
) -> None:
    run = copy_of(prepared, tmp_path)
    stopped = run_disturbed(run, DISTURBED_STEP="5")
    assert stopped.returncode == 3, stopped.stderr
    assert "stopped: step 5: sampler_kl is " in stopped.stderr
    assert "the state after step 4 is saved" in stopped.stderr
    assert [line["step"] for line in lines(run.stage(0))] == [0, 1, 2, 3, 4]
    assert [path.name for path in sorted(run.stage(0).checkpoints.iterdir())] == ["step_000003", "step_000004"]
    assert "continues after step 4" in finish(run, "guard.max_sampler_kl=0.1")
    assert_same_end(run, undisturbed)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_stop_when_their_launcher_is_asked_to(
    undisturbed: RunDir, prepared: RunDir, tmp_path: Path
) -> None:
    run = copy_of(prepared, tmp_path)
    code, said = send_after_step(
        run, signal.SIGTERM, 3, "training.num_processes=2", "training.zero_stage=3", "training.micro_batch_tokens=64"
    )
    assert code == 143, said
    two, one = lines(run.stage(0)), lines(undisturbed.stage(0))
    last = two[-1]["step"]
    assert run.stage(0).checkpoint(last).is_dir()
    assert 3 <= last < STEPS
    for line, expected in zip(two[:4], one[:4], strict=True):
        assert {name: line[name] for name in line if name not in expected or expected[name] is None} == {
            name: None for name in expected if expected[name] is None
        }
        compared = [name for name in expected if expected[name] is not None and name not in ("stage", *OF_THE_SPLIT)]
        wanted = {name: expected[name] for name in compared}
        assert {name: line[name] for name in compared} == pytest.approx(wanted, rel=TWO_RANKS, abs=TWO_RANKS)
