"""A preset's rehearsal with its real parts, reduced further: the stages, the reward, Prefect, DeepSpeed, the report."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PRESET = REPOSITORY / "configs" / "grpo_lora_qwen3_4b.yaml"
REDUCED = [
    "embedded.train_problems=96",
    "embedded.clean_loss=50",
    "embedded.mixed_steps=10",
    "data.probe_problems=8",
    "rollout.num_prompts=2",
    "algorithm.minibatch_sequences=5",
    "stages.0.steps=2",
    "validation.num_problems=2",
]


@pytest.mark.slow
def test_a_rehearsal_ends_in_a_report_that_says_what_it_is_and_the_same_command_finds_it_done(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    first = rehearse(tmp_path, environment)
    run = tmp_path / "runs" / "grpo_lora_qwen3_4b-rehearsal"
    assert f"report: {run / 'report.md'}" in first.stdout
    report = re.sub(" +", " ", (run / "report.md").read_text())
    assert "**A rehearsal of grpo_lora_qwen3_4b** at toy size" in report
    assert "| `stages.*.steps` | 50 | 2 | asked for |" in report
    (stage,) = (run / "stages").iterdir()
    steps = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [0, 1, 2]
    assert all("reward_answer_tag_mean" in step and step["kl_ref_mean"] is not None for step in steps[1:])
    adapter = json.loads((stage / "hf" / "adapter" / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"]) == (64, 32)
    assert (stage / "hf" / "model.safetensors").is_file()
    plan = rehearse(tmp_path, environment, "--plan").stdout
    assert plan.count(" done ") == 8
    assert "to do" not in plan


def rehearse(folder: Path, environment: dict[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    real = {name: value for name, value in environment.items() if name != "RL_CORE_COMMAND"}
    own = [f"rehearsal.{override}" for override in REDUCED]
    done = subprocess.run(
        [sys.executable, "-m", "flows.deepscaler_recipe", "--config", str(PRESET), "--rehearse", *options, *own],
        cwd=folder,
        env={**real, "DEEPSCALER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done
