"""A preset's rehearsal with its real parts, reduced further: the stages, the reward, Prefect, DeepSpeed, the report."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PRESET = REPOSITORY / "configs" / "deepscaler_1_5b_paper.yaml"
REDUCED = [
    "embedded.train_problems=96",
    "embedded.test_problems=8",
    "embedded.clean_loss=50",
    "embedded.mixed_steps=10",
    "data.probe_problems=8",
    "rollout.num_prompts=2",
    "algorithm.minibatch_sequences=16",
    *[f"stages.{index}.steps=2" for index in range(3)],
    "stages.0.algorithm.minibatch_sequences=8",
    "validation.num_samples=1",
    "validation.num_problems=2",
    "evaluation.protocol.num_samples=2",
]


@pytest.mark.slow
def test_a_rehearsal_ends_in_a_report_that_says_what_it_is_and_goes_on_where_it_was_left(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    first = rehearse(tmp_path, environment)
    run = tmp_path / "runs" / "deepscaler_1_5b_paper-rehearsal"
    assert f"report: {run / 'report.md'}" in first.stdout
    report = (run / "report.md").read_text()
    assert "**A rehearsal of deepscaler_1_5b_paper** at toy size" in report
    assert "| `stages.*.steps` | 1040, 480, 240 | 2 | asked for |" in re.sub(" +", " ", report)
    assert [stage.name for stage in sorted((run / "stages").iterdir())] == ["1-8k", "2-16k", "3-24k"]
    for stage in (run / "stages").iterdir():
        steps = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
        assert [step["step"] for step in steps] == [0, 1, 2]
        assert all(step["kl_ref_mean"] is not None for step in steps[1:])
        assert all("reward_deepscaler_mean" in step for step in steps[1:])
        assert (stage / "hf" / "model.safetensors").is_file()
    again = rehearse(tmp_path, environment)
    assert "train 24k: done already" in again.stdout


def rehearse(folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    real = {name: value for name, value in environment.items() if name != "RL_CORE_COMMAND"}
    done = subprocess.run(
        [
            sys.executable, "-m", "flows.deepscaler_recipe", "--config", str(PRESET), "--rehearse",
            *[f"rehearsal.{override}" for override in REDUCED],
        ],
        cwd=folder,
        env={**real, "DEEPSCALER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done
