"""Every benchmark is a command: it says what it takes, and at its smallest size it leaves its table and its file."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2ForCausalLM

from benchmarks.models import DISTILL, TINY, model_config
from rl_core.environment import has_accelerator

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted((REPOSITORY / "benchmarks").glob("*.py"))
COMMANDS = [file.stem for file in FILES if 'if __name__ == "__main__":' in file.read_text(encoding="utf-8")]


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks.<name>`, which must succeed."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done


def measured(name: str, tmp_path: Path, *arguments: object) -> tuple[str, dict[str, Any]]:
    """The table on the terminal, and the result file."""
    file = tmp_path / f"{name}.json"
    done = run(name, *arguments, "--json", file)
    outcome = json.loads(file.read_text())
    assert {"commit", "processor", "versions", "command"} <= set(outcome)
    return done.stdout, outcome


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_says_what_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    shown = capsys.readouterr().out
    assert f"python -m benchmarks.{name}" in shown
    assert "--json FILE" in shown


def test_the_distilled_model_has_its_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = Qwen2ForCausalLM(model_config(DISTILL))
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_777_088_000


def test_every_benchmark_is_told_of_in_the_readme() -> None:
    told = (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"python -m benchmarks.{name}" not in told] == []


def test_grading_is_measured(tmp_path: Path) -> None:
    problems = tmp_path / "problems.json"
    problems.write_text(json.dumps([{"answer": answer} for answer in (r"\frac{1}{2}", "3", "x+1")]))
    table, outcome = measured("grading", tmp_path, problems, "--adversarial", tmp_path / "none")
    assert "adversarial answers: skipped" in table
    assert "realistic, grader" in table
    assert outcome["fast_path_per_second"] > 0
    assert outcome["pairs"] > 0


@pytest.mark.slow
def test_log_probabilities_are_measured_both_ways(tmp_path: Path) -> None:
    table, outcome = measured("logprobs", tmp_path, "--cases", "16x4096x2048", "16x512x65536")
    assert "forward and backward, entropies in the loss" in table
    one_copy = {2048: 4 * 4096 * 2048 / 1e9, 65536: 4 * 512 * 65536 / 1e9}
    for row in outcome["rows"]:
        assert row["forward and backward, plain GB"] > 2 * one_copy[row["V"]]
        assert row["forward and backward, ours s"]["repetitions"] >= 1
    # Tiles are 4 MB here, and used again: a heap that grew by each of them would reach the whole.
    assert outcome["rows"][1]["forward, ours GB"] < 0.5 * one_copy[65536]


@pytest.mark.slow
def test_our_vllm_engine_and_plain_vllm_give_the_same_responses(tmp_path: Path) -> None:
    table, outcome = measured("rollouts", tmp_path, *"--model tiny --prompts 2 --samples 2 --repetitions 1".split())
    assert "plain, no log-probabilities" in table
    assert outcome["equal_responses"] == outcome["requests"] == 4
    assert [row["engine"] for row in outcome["rows"]] == ["ours", "plain", "plain, no log-probabilities"]


@pytest.mark.slow
def test_the_bytes_of_a_synchronisation_are_those_of_the_model(tmp_path: Path) -> None:
    _, outcome = measured("weight_sync", tmp_path, *"--models tiny --engines transformers --repetitions 1".split())
    (row,) = outcome["rows"]
    vocabulary, hidden, intermediate, key_value = model_config(TINY).vocab_size, 64, 128, 32
    attention = 2 * hidden * hidden + 2 * hidden * key_value + hidden + 2 * key_value  # q, o; k, v; biases of q, k, v
    layer = attention + 3 * hidden * intermediate + 2 * hidden
    parameters = 2 * layer + 2 * vocabulary * hidden + hidden
    assert row["MB"] == pytest.approx(4 * parameters / 1e6)
    assert row["seconds"]["median"] > 0


@pytest.mark.slow
def test_a_checkpoint_is_measured_against_a_copy_of_its_bytes(tmp_path: Path) -> None:
    _, outcome = measured("checkpoint", tmp_path, "--models", "tiny", "--repetitions", "1", "--disk", tmp_path / "disk")
    (row,) = outcome["rows"]
    parameters = 2 * 64 * model_config(TINY).vocab_size  # of the embeddings alone
    assert row["MB"] > 12 * parameters / 1e6
    assert row["written s"]["median"] > 0
    assert row["plain copy s"]["median"] > 0
    assert list((tmp_path / "disk").iterdir()) == []


@pytest.mark.skipif(has_accelerator(), reason="there is an accelerator")
def test_without_an_accelerator_the_benchmark_for_one_says_so_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "accelerator.json"
    assert "no accelerator" in run("accelerator", "--json", file).stdout
    assert not file.exists()


@pytest.mark.slow
def test_the_benchmark_for_accelerators_runs_at_a_tiny_size(tmp_path: Path) -> None:
    table, outcome = measured(
        "accelerator", tmp_path, *"--tiny --stages 1 --prompts 2 --samples 3 rollout.engine=vllm".split()
    )
    assert "Stage 1" in table
    parts = {row["part"]: row for row in outcome["rows"]}
    assert {"generate", "log-probabilities", "train: backward", "train: optimizer"} < set(parts)
    assert all(row["stage"] == "16k" for row in outcome["rows"])
    inside = sum(parts[f"train: {part}"]["seconds"] for part in ("forward", "backward", "optimizer"))
    assert 0 < inside <= parts["train"]["seconds"]
    of_the_peak = parts["train"]["TFLOP/s"] / parts["a matrix product"]["TFLOP/s"]
    assert parts["train"]["of the matrix peak"] == pytest.approx(of_the_peak)


@pytest.mark.slow
def test_four_roles_are_measured_in_each_way_to_hold_them(tmp_path: Path) -> None:
    shown, outcome = measured("shared_base", tmp_path, "--model", TINY)
    assert "four, whole" in shown
    one, adapters, whole = outcome["rows"]
    assert one["trained"] == adapters["trained"] < whole["trained"]
    assert one["held MiB"] < adapters["held MiB"] < whole["held MiB"]
