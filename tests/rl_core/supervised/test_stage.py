"""The stage `sft`, whole: killed, asked to stop and run again, it ends where an undisturbed one ends, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from rl_core.cache import CACHE_VARIABLE
from rl_core.checkpoint.convert import convert_stage
from rl_core.checkpoint.tensors import read_tensors
from rl_core.config import load_config
from rl_core.data.prepare import prepare_data
from rl_core.errors import MistakeError
from rl_core.manifest import read_manifest
from rl_core.metrics import METRICS
from rl_core.models.base import make_base_model
from rl_core.plan import DONE, UNDER_WAY, training_part
from rl_core.run_dir import RunDir
from rl_core.supervised.launch import fine_tune
from rl_core.supervised.stage import SupervisedTraining
from rl_core.world import World

REPOSITORY = Path(__file__).resolve().parents[3]
STEPS = 12
SFT = (
    "sft={data: {source: embedded, max_rows: 120}, lora: {rank: 4, alpha: 8}, max_tokens: 90, batch_sequences: 12, "
    f"validation_rows: 10, validation_every_steps: 4, max_steps: {STEPS}, optimizer: {{learning_rate: 0.01}}}}"
)
OVERRIDES = (
    "embedded.train_problems=64", "embedded.test_problems=16", "data.probe_problems=8",
    "embedded.clean_loss=50", "embedded.mixed_steps=3", "embedded.hidden_size=32", "embedded.intermediate_size=48",
    "rollout.num_prompts=4", "rollout.num_samples=4", "algorithm.minibatch_sequences=8", SFT,
    "checkpoint.every_steps=3", "tracking.wandb=disabled",
)  # fmt: skip
DEADLINE_SECONDS = 120.0
OF_THE_CLOCK = ("_seconds", "_per_second", "_bytes")
TWO_RANKS = 1e-3  # of every figure: rounding, after updates that AdamW makes of any gradient's size


def start(run: RunDir, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rl_core", "sft", "--run-dir", str(run.root), *OVERRIDES, *more],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: RunDir, *more: str) -> str:
    process = start(run, *more)
    said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, said
    return said


def send_after_step(run: RunDir, number: signal.Signals, step: int) -> tuple[int, str]:
    """Start the stage and send it a signal once it has written a line for `step`; its exit code and what it said."""
    process, metrics = start(run), run.stage("sft").metrics
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (not metrics.exists() or len(metrics.read_text().splitlines()) < step + 1) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    process.send_signal(number)
    said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, said


def lines(run: RunDir) -> list[dict[str, Any]]:
    """The metrics, without what depends on the clock or the memory."""
    return [
        {name: value for name, value in json.loads(line).items() if not name.endswith(OF_THE_CLOCK)}
        for line in run.stage("sft").metrics.read_text().splitlines()
    ]


def assert_same_end(got: RunDir, expected: RunDir) -> None:
    assert lines(got) == lines(expected)
    checkpoint, wanted = (run.stage("sft").checkpoint(STEPS) for run in (got, expected))
    for part in ("policy/weights", "trainer/optimizer"):
        tensors = dict(read_tensors(wanted / part))
        found = dict(read_tensors(checkpoint / part))
        assert set(found) == set(tensors)
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    summaries = [json.loads(run.stage("sft").summary.read_text()) for run in (got, expected)]
    assert summaries[0] == summaries[1]


def copy_of(run: RunDir, root: Path) -> RunDir:
    shutil.copytree(run.root, root, dirs_exist_ok=True)
    return RunDir(root, run.config)


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


@pytest.mark.slow
def test_it_trains_and_leaves_what_the_contract_says(undisturbed: RunDir) -> None:
    stage = undisturbed.stage("sft")
    told = lines(undisturbed)
    assert [line["step"] for line in told] == list(range(STEPS + 1))
    assert [line["step"] for line in told if "validation_loss" in line] == [0, 4, 8, 12]
    assert told[0]["validation_loss"] > told[-1]["validation_loss"]
    assert told[-1]["epoch"] == (STEPS - 1) * 12 // json.loads(stage.summary.read_text())["rows"]
    assert all(line["rows_set_aside"] > 0 for line in told[1:])
    names = {name for line in stage.metrics.read_text().splitlines() for name in json.loads(line)}
    assert names - set(METRICS) == set()
    assert [path.name for path in sorted(stage.checkpoints.iterdir())] == ["step_000009", "step_000012"]
    summary = json.loads(stage.summary.read_text())
    assert (summary["status"], summary["steps"], summary["checkpoint"]) == (
        "complete",
        STEPS,
        "checkpoints/step_000012",
    )
    assert summary["rows"] + summary["rows_held_out"] + summary["rows_set_aside"] <= 120
    assert training_part(undisturbed, "sft").state == DONE
    before = stage.metrics.read_bytes()
    fine_tune(undisturbed)
    assert stage.metrics.read_bytes() == before


@pytest.mark.slow
def test_killed_and_then_asked_to_stop_it_ends_bit_for_bit_where_an_undisturbed_one_ends(
    undisturbed: RunDir, prepared: RunDir, tmp_path: Path
) -> None:
    run = copy_of(prepared, tmp_path)
    code, said = send_after_step(run, signal.SIGKILL, 7)
    assert code == -signal.SIGKILL, said
    part = training_part(run, "sft")
    assert (part.state, part.step) in ((UNDER_WAY, 3), (UNDER_WAY, 6))
    code, said = send_after_step(run, signal.SIGTERM, 10)
    assert code == 143, said
    assert "continues after step" in said
    last = lines(run)[-1]["step"]
    assert run.stage("sft").checkpoint(last).is_dir()
    assert f"continues after step {last}" in finish(run)
    assert_same_end(run, undisturbed)


@pytest.mark.slow
def test_two_processes_under_zero_3_train_as_one_does(undisturbed: RunDir, prepared: RunDir, tmp_path: Path) -> None:
    run = copy_of(prepared, tmp_path)
    finish(run, "training.num_processes=2", "training.zero_stage=3", "training.micro_batch_tokens=200")
    for line, expected in zip(lines(run), lines(undisturbed), strict=True):
        compared = {name: value for name, value in expected.items() if name not in ("stage", "padding_fraction")}
        assert {name: line[name] for name in compared} == pytest.approx(compared, rel=TWO_RANKS, abs=TWO_RANKS)


@pytest.mark.slow
def test_what_it_trained_is_converted_as_every_policy_is_and_the_first_stage_starts_from_it(
    undisturbed: RunDir,
) -> None:
    convert_stage(undisturbed, "sft")
    stage = undisturbed.stage("sft")
    verified = json.loads((stage.hf / "verification.json").read_text())
    assert verified["adapter_layers_changed"] == "14 of 14"
    assert verified["logits_max_difference"] < 1e-4
    assert (stage.hf / "adapter" / "adapter_config.json").is_file()
    assert "on given answers; prompt and answer were limited to\n90 tokens" in (stage.hf / "README.md").read_text()
    assert undisturbed.first_policy(0) == stage.hf
    manifest = read_manifest(stage.hf)
    assert manifest is not None
    assert manifest["config_digest"] == undisturbed.keys.policy(0) == undisturbed.keys.hf("sft")
    assert json.loads(stage.summary.read_text())["hf"] == "hf"


def test_a_recipe_without_it_and_one_without_its_base_model_are_told_so(prepared: RunDir, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="sft: the recipe has no such section"):
        fine_tune(RunDir(tmp_path, load_config(overrides=[each for each in OVERRIDES if each != SFT])))
    with pytest.raises(MistakeError, match="does not hold this recipe's data"):
        fine_tune(RunDir(tmp_path, prepared.config))
    shutil.copytree(prepared.data, tmp_path / "data")
    with pytest.raises(
        MistakeError, match=r"base does not hold the stage's first policy: run `python -m rl_core warm-up`"
    ):
        fine_tune(RunDir(tmp_path, prepared.config))


def test_layers_that_the_model_does_not_have_are_told_by_the_setting_of_fine_tuning(
    prepared: RunDir, world: World
) -> None:
    run = RunDir(prepared.root, load_config(overrides=[*OVERRIDES, "sft.lora.target_modules=[query]"]))
    with pytest.raises(MistakeError, match=r"^sft\.lora\.target_modules: query: the model has down_proj"):
        SupervisedTraining(run, world)
