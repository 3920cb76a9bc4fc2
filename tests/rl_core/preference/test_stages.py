"""The stages `pairs` and `reward-model`: what they leave, killed and run again, on one rank and two.

What is killed, and what has two ranks, runs as a command of its own; the rest in this process, which is faster.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rl_core.config import load_config
from rl_core.data.prepare import prepare_data
from rl_core.errors import GuardStop, MistakeError
from rl_core.manifest import read_json, read_manifest
from rl_core.models.base import CACHE_VARIABLE, make_base_model
from rl_core.models.reward_model import RewardModel
from rl_core.models.reward_source import local_rewards
from rl_core.preference import export
from rl_core.preference.launch import train_reward_model
from rl_core.preference.pairs import make_pairs
from rl_core.preference.table import read_pairs
from rl_core.rewards import Scorer
from rl_core.run_dir import RunDir
from rl_core.world import World

REPOSITORY = Path(__file__).resolve().parents[3]
REWARDS = json.dumps(
    [
        {"name": "reward_model", "weight": 0.5, "kwargs": {"model": "trained"}},
        {"name": "shaped", "weight": 0.5},
    ]
)
# The base model has learned next to nothing: its answers are wrong, and most pairs have the solution as chosen.
OVERRIDES = (
    "embedded.train_problems=80", "embedded.test_problems=8", "data.probe_problems=8", "embedded.clean_loss=50",
    "embedded.mixed_steps=1", "embedded.hidden_size=16", "embedded.intermediate_size=16", "tracking.wandb=disabled",
    "rollout.engine=transformers", "rollout.max_concurrent_sequences=4", "checkpoint.every_steps=2",
    'pairs={"first_row": 30, "num_rows": 40, "num_samples": 4, "max_new_tokens": 12, "held_out_fraction": 0.3,'
    ' "verifier": "boxed"}',
    'reward_model={"batch_pairs": 8, "max_tokens": 200, "validation_every_steps": 3, "lora": {"rank": 4, "alpha": 8},'
    ' "optimizer": {"learning_rate": 0.02, "weight_decay": 0.0}}',
    f"rewards={REWARDS}",
)  # fmt: skip
STEPS = 7  # of two epochs of 28 pairs
TIMES = ("_seconds", "tokens_per_second", "peak_memory_bytes")
ROUNDING = {"rel": 1e-3, "abs": 1e-4}  # float32 on two ranks, after seven updates

pytestmark = pytest.mark.slow


def command(run: RunDir, stage: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.rl_core.preference.disturbed_preference", stage, "--run-dir", str(run.root),
         *OVERRIDES, *overrides],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_process_for_all(world: World) -> Iterator[None]:
    """Trainings in this process leave its process group to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "leave", lambda _: None)
        yield


def run_in(folder: Path, *overrides: str) -> RunDir:
    return RunDir(folder, load_config(overrides=[*OVERRIDES, *overrides]))


def copy_of(run: RunDir, folder: Path, *overrides: str) -> RunDir:
    shutil.copytree(run.root, folder)
    return run_in(folder, *overrides)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run with its data and its first policy."""
    run = run_in(tmp_path_factory.mktemp("preference") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(run.root.parent / "cache"))
        prepare_data(run)
        make_base_model(run)
    return run


@pytest.fixture(scope="module")
def paired(prepared: RunDir, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = copy_of(prepared, tmp_path_factory.mktemp("paired") / "run")
    make_pairs(run)
    return run


@pytest.fixture(scope="module")
def trained(paired: RunDir, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = copy_of(paired, tmp_path_factory.mktemp("trained") / "run")
    train_reward_model(run)
    return run


def test_pairs_are_of_the_problems_set_aside_for_them_and_no_problem_is_on_both_sides(
    paired: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {name: read_pairs(paired.pairs / f"{name}.parquet") for name in ("train", "held_out")}
    problems = {name: {row.index for row in rows} for name, rows in splits.items()}
    assert not problems["train"] & problems["held_out"]
    assert problems["train"] | problems["held_out"] <= set(range(40))
    manifest = read_manifest(paired.pairs)
    assert manifest is not None
    assert manifest["problems"]["read"] == 40
    assert {name: split["pairs"] for name, split in manifest["pairs"].items()} == {
        name: len(rows) for name, rows in splits.items()
    }
    samples = pd.read_parquet(paired.pairs / "samples.parquet")
    assert len(samples) == manifest["responses"]["sampled"] == 160
    rejected = {(row["index"], row["response"]) for _, row in samples.iterrows() if not row["correct"]}
    for row in [*splits["train"], *splits["held_out"]]:
        assert (row.index, row.rejected[0]["content"]) in rejected
        assert row.prompt[-1]["content"].startswith("Compute ")
    assert not paired.pairs_samples.exists()
    make_pairs(paired)
    assert capsys.readouterr().out == "pairs: already there\n"


def test_sampling_that_is_killed_goes_on_and_ends_with_the_same_pairs(
    prepared: RunDir, paired: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(prepared, tmp_path / "run")
    assert command(run, "pairs", KILLED_FILE="3").returncode == -9
    kept = {file: file.stat().st_mtime_ns for file in run.pairs_samples.glob("*.parquet")}
    assert len(kept) == 3
    with pytest.raises(MistakeError, match="was sampled with other settings"):
        make_pairs(run_in(run.root, "pairs.temperature=0.5"))
    assert {file: file.stat().st_mtime_ns for file in run.pairs_samples.glob("*.parquet")} == kept
    make_pairs(run)
    assert "pairs: problem 28/28" in capsys.readouterr().out  # of 40, without the 12 that were there
    for name in ("train.parquet", "held_out.parquet", "samples.parquet"):
        assert (run.pairs / name).read_bytes() == (paired.pairs / name).read_bytes()


def lines(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.reward_model_training.metrics.read_text().splitlines()]


def without_times(run: RunDir) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if not name.endswith(TIMES)} for line in lines(run)]


def test_a_training_that_is_killed_ends_where_an_undisturbed_one_does_bit_for_bit(
    paired: RunDir, trained: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(paired, tmp_path / "run")
    assert command(run, "reward-model", KILLED_STEP="4").returncode == -9
    assert [path.name for path in run.reward_model_training.checkpoints.iterdir() if path.suffix == ""] == [
        "step_000002"
    ]
    train_reward_model(run)
    said = capsys.readouterr().out
    assert "reward model: continues after step 2" in said
    assert "held out, 0 with a conversation of more than 200 tokens (reward_model.max_tokens) set aside" in said
    assert without_times(run) == without_times(trained)
    assert [line["step"] for line in lines(run)] == list(range(STEPS + 1))
    assert run.reward_model_training.summary.read_text() == trained.reward_model_training.summary.read_text()
    for name in ("model.safetensors", "adapter/adapter_model.safetensors", "adapter/score.safetensors", "scores.json"):
        assert (run.reward_model / name).read_bytes() == (trained.reward_model / name).read_bytes()
    train_reward_model(run)
    assert capsys.readouterr().out == "reward model: already there\n"


def test_two_ranks_under_zero_3_train_as_one_does(paired: RunDir, trained: RunDir, tmp_path: Path) -> None:
    overrides = ("training.num_processes=2", "training.zero_stage=3", "training.micro_batch_tokens=128")
    run = copy_of(paired, tmp_path / "run")
    done = command(run, "reward-model", *overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    compared = ("loss_reward_model", "grad_norm", "pair_accuracy", "validation_pair_loss", "learning_rate")
    for line, expected in zip(lines(run), lines(trained), strict=True):
        for name in compared:
            if expected.get(name) is not None:
                assert line[name] == pytest.approx(expected[name], **ROUNDING), (line["step"], name)
    one, two = (load_file(each.reward_model / "model.safetensors") for each in (trained, run))
    assert {name: (one[name] - two[name]).abs().max() < 1e-3 for name in one} == dict.fromkeys(one, True)


def test_what_is_exported_scores_as_the_training_did_and_the_adapter_on_its_base_as_the_merged_model(
    trained: RunDir,
) -> None:
    summary = read_json(trained.reward_model_training.summary)
    rows = read_pairs(trained.pairs / "held_out.parquet")
    judge = RewardModel(trained.reward_model)
    chats = [[*row.prompt, *turns] for row in rows for turns in (row.chosen, row.rejected)]
    tokens = [judge.tokens(chat) for chat in chats]
    scores = judge.scores(tokens, 10_000)
    assert tokens[0][-1] == AutoTokenizer.from_pretrained(trained.base).eos_token_id  # the end of the turn is read
    assert sum(scores) / len(scores) == pytest.approx(summary["scores"]["mean"], abs=1e-4)
    wins = [chosen > rejected for chosen, rejected in zip(scores[::2], scores[1::2], strict=True)]
    assert sum(wins) / len(wins) == pytest.approx(summary["held_out"]["accuracy"]["value"])

    model = AutoModelForSequenceClassification.from_pretrained(trained.base, num_labels=1, dtype=torch.float32).eval()
    model.base_model.load_adapter(str(trained.reward_model / "adapter"))
    head = load_file(trained.reward_model / "adapter" / "score.safetensors")
    model.score.load_state_dict({"weight": head["score.weight"]})
    with torch.no_grad():
        adapted = [float(model(torch.tensor([ids])).logits) for ids in tokens]
    assert adapted == pytest.approx(scores, abs=1e-4)
    verified = read_json(trained.reward_model / "verification.json")
    assert verified["adapter_layers_changed"] == "14 of 14"
    assert verified["scores_max_difference"] < 1e-4 > verified["adapter"]["scores_max_difference"]


def test_a_model_that_is_not_the_trained_one_is_not_published(
    trained: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of(trained, tmp_path / "run")
    shutil.rmtree(run.reward_model)
    summary, config = read_json(run.reward_model_training.summary), run.config.reward_model
    assert config is not None
    genuine = export.verify_tensors

    def tampered(source: Any, folder: Path, dtype: torch.dtype) -> int:
        found = genuine(source, folder, dtype)
        weights = load_file(folder / "model.safetensors")
        weights["score.weight"] *= 1.01
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return found

    monkeypatch.setattr(export, "verify_tensors", tampered)
    with pytest.raises(GuardStop, match="scores differ from the trainer's by"):
        export.export_reward_model(run, config, summary)
    assert not run.reward_model.exists()


def test_the_reward_is_the_score_of_prompt_and_response_in_standard_deviations_and_the_rest_is_of_the_response_alone(
    trained: RunDir,
) -> None:
    scores = read_json(trained.reward_model / "scores.json")
    learned, shaped = local_rewards(trained)
    assert learned.kwargs == {"model": str(trained.reward_model), "mean": scores["mean"], "scale": scores["std"]}
    # The prompt has a box and words of reasoning, which earn nothing.
    prompt = [{"role": "user", "content": r"Think step by step, then answer in \boxed{}. Compute 1 a+2"}]
    (score,) = Scorer([learned, shaped]).score(["3"], ["4"], [False], messages=[prompt])
    judge = RewardModel(trained.reward_model)
    (raw,) = judge.scores([judge.tokens([*prompt, {"role": "assistant", "content": "3"}])], 1000)
    standard = (raw - scores["mean"]) / scores["std"]
    assert score.breakdown == {"reward_model": pytest.approx(standard, abs=1e-4), "shaped": -1.0}
    assert score.reward == pytest.approx(0.5 * standard - 0.5, abs=1e-4)
    right = Scorer([shaped]).score([r"First, \boxed{4}"], ["4"], [False], messages=[prompt])[0]
    assert right.reward == pytest.approx(0.5 * (1 + 0.2 + 0.2))


def test_a_model_that_knows_no_better_than_chance_stops_the_run_unless_told_otherwise(
    paired: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = "reward_model.optimizer.learning_rate=1e-60"  # less than a float32 can move by: every score stays 0
    run = copy_of(paired, tmp_path / "run", still)
    for _ in range(2):  # again, it is judged and not trained
        with pytest.raises(GuardStop, match=r"includes chance \(0\.5\).*reward_model\.require_above_chance=false"):
            train_reward_model(run)
    assert not run.reward_model.exists()
    capsys.readouterr()
    train_reward_model(run_in(run.root, still, "reward_model.require_above_chance=false"))
    assert "step" not in capsys.readouterr().out
    assert (run.reward_model / "model.safetensors").is_file()


def test_what_cannot_be_trained_is_told_before_it_is_tried(prepared: RunDir, paired: RunDir, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="run `python -m rl_core pairs` first"):
        train_reward_model(copy_of(prepared, tmp_path / "without"))
    many = "reward_model.batch_pairs=100"
    with pytest.raises(MistakeError, match="but there are 28 pairs to train on"):
        train_reward_model(copy_of(paired, tmp_path / "many", many))
