"""One step of every part on real problems: long LaTeX prompts, real answers, real lengths."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
TEMPLATE = "{problem} Let's think step by step and output the final answer within \\boxed{}."
RECIPE = [
    "data.train.source=path",
    "data.train.problem_column=prompt",
    "data.train.solution_column=null",
    "data.test.source=path",
    "data.probe_problems=4",
    f"data.prompt_template={json.dumps(TEMPLATE)}",
    "embedded.context_tokens=8192",
    "embedded.clean_loss=50",
    "embedded.mixed_steps=3",
    "rollout.num_prompts=8",
    "rollout.num_samples=2",
    "algorithm.minibatch_sequences=8",
    "algorithm.entropy_coefficient=0.001",  # gives every response a gradient, right or wrong
    "stages.0.steps=1",
    "stages.0.max_prompt_tokens=4096",
    "stages.0.max_response_tokens=64",
    "validation.num_samples=1",
    "validation.num_problems=4",
    "tracking.wandb=disabled",
]


@pytest.mark.slow
def test_a_step_on_real_problems_passes_through_every_part(shared_data: Path, tmp_path: Path) -> None:
    math = shared_data / "math"
    sources = [f"data.train.path={math / 'deepscaler_2000.json'}", f"data.test.path={math / 'aime24.json'}"]
    for stage in (["prepare"], ["warm-up"], ["train", "--stage", "0"], ["convert", "--stage", "0"]):
        command = [sys.executable, "-m", "rl_core", *stage, "--run-dir", str(tmp_path), *RECIPE, *sources]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=_environment(tmp_path))
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]

    stage_dir = tmp_path / "stages" / "1-8k"
    measured, step = map(json.loads, (stage_dir / "metrics.jsonl").read_text().splitlines())
    assert measured["validation_reward_mean"] is not None
    assert step["grad_norm"] > 0
    assert step["unscored_count"] == 0
    assert step["prompts_set_aside"] == 0
    assert abs(step["sampler_logprob_error_mean"] - 1) < 1e-4
    verification = json.loads((stage_dir / "hf" / "verification.json").read_text())
    assert verification["logits_max_difference"] <= 1e-4
    assert verification["tokenizer_texts"] == 1980 + 4 + 30  # train, probe and AIME24, each given back by the tokenizer


def _environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "DEEPSCALER_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(REPOSITORY)}
