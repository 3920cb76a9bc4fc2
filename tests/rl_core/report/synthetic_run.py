"""A small run directory with numbers that can be checked by hand, written as the stages write theirs.

Eight problems, four responses to each. A right response to problem p takes 12 * (p + 1) tokens, but for the first one
to problem 2, which takes 30. Stages of 6, 8 and 10 steps at 32, 64 and 96 tokens.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from rl_core.config import SFT, StageIndex, load_config
from rl_core.manifest import publishing, read_manifest, write_json
from rl_core.run_dir import RunDir

OVERRIDES = (
    "name=synthetic",
    "stages.0.steps=6",
    "stages.1.steps=8",
    "stages.2.steps=10",
    "evaluation.protocol.num_samples=4",
)
EVIL = "x </pre><script>alert('1')</script> & ``` **b** | \x00\x1b[31m"
RIGHT: dict[StageIndex | None, tuple[int, ...]] = {  # responses that are right, by problem
    None: (2, 2, 1, 0, 0, 0, 0, 0),
    0: (4, 4, 3, 0, 0, 0, 0, 0),
    1: (4, 4, 4, 3, 2, 0, 0, 0),
    2: (4, 4, 4, 4, 4, 3, 2, 1),
    SFT: (3, 2, 2, 0, 0, 0, 0, 0),
}
PASS_AT_1: dict[StageIndex | None, dict[str, float]] = {
    None: {"value": 0.15625, "low": 0.05, "high": 0.3},
    0: {"value": 0.34375, "low": 0.1, "high": 0.6},
    1: {"value": 0.53125, "low": 0.25, "high": 0.8},
    2: {"value": 0.8125, "low": 0.65, "high": 0.95},
    SFT: {"value": 0.21875, "low": 0.08, "high": 0.4},
}
SAMPLES = 4


def new_run(root: Path, *overrides: str) -> RunDir:
    """A run directory with nothing in it."""
    root.mkdir(parents=True)
    return RunDir(root, load_config(None, [*OVERRIDES, *overrides]))


def write_run(run: RunDir) -> RunDir:
    """Everything that a finished run holds."""
    write_data_and_base(run)
    write_evaluation(run, None)
    for index in range(len(run.config.stages)):
        write_stage(run, index)
        write_evaluation(run, index)
    return run


def write_data_and_base(run: RunDir) -> None:
    """Sources, data and base model."""
    sources = {
        "train": {
            "source": "hub",
            "repo_id": "someone/problems",
            "commit": "c0ffee",
            "files": [{"name": "train.json", "bytes": 1234, "digest": "feed"}],
        },
        "test": {"source": "embedded", "files": []},
    }
    facts = {
        "sources": sources,
        "rows_read": {"train": 4000, "test": 8},
        "rows": {"train": 3869, "test": 8, "probe": 128},
        "set_aside": {"train": {"duplicate": 2, "no answer": 1}, "test": {}},
        "dataset_digests": {"train": "aaaa", "test": "bbbb", "probe": "cccc"},
    }
    write_part(run.sources, run.keys.sources(), sources=sources)
    write_part(run.data, run.keys.data(), **facts)
    write_part(run.base, run.keys.base(), source="embedded")


def write_part(folder: Path, key: str, **extra: Any) -> None:
    """A finished folder with one file in it."""
    with publishing(folder, key=key, **extra) as partial:
        (partial / "content.txt").write_text(f"{key}\n")


def write_stage(run: RunDir, index: int, steps: int | None = None) -> None:
    """A finished stage with its converted model; with `steps`, one that was stopped there."""
    stage, files = run.config.stages[index], run.stage(index)
    done = steps or stage.steps
    write_part(files.checkpoint(done), run.keys.stage(index))
    lines = [metrics_line(index, stage.name, step) for step in range(done + 1)]
    lines[-1] |= measurements(index, done)
    files.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if done < stage.steps:
        return
    write_part(files.hf, run.keys.hf(index))
    promotion = {"decision": "last step", "step": done, "numbers": {"probe_reward_mean": 0.35 + 0.2 * index}}
    write_json(files.summary, {"status": "complete", "stage": stage.name, "steps": done, "promotion": promotion})


def write_fine_tuning(run: RunDir) -> None:
    """Twenty updates, of losses that fall, and the converted model."""
    files = run.stage(SFT)
    write_part(files.checkpoint(20), run.keys.sft())
    lines: list[dict[str, Any]] = [{"step": 0, "stage": SFT, "validation_loss": 1.5}]
    lines += [
        {"step": step, "stage": SFT, "loss_sft": 1.5 - step / 40, "trained_tokens": 600, "rows_set_aside": 7}
        for step in range(1, 21)
    ]
    lines[-1] |= {"validation_loss": 1.125}
    files.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_part(files.hf, run.keys.hf(SFT))
    write_json(files.summary, {"status": "complete", "steps": 20, "rows": 1234, "rows_held_out": 64})


def metrics_line(index: int, name: str, step: int) -> dict[str, Any]:
    """Step `step` of a stage; step 0 holds only measurements."""
    if step == 0:
        return {"step": 0, "stage": name, **measurements(index, 0)}
    return {
        "step": step,
        "stage": name,
        "reward_mean": 0.2 * index + 0.1 + 0.01 * step,
        "unscored_count": 1,
        "response_tokens_mean": 20.0 + 10 * index + step,
        "truncated_fraction": (0.4, 0.2, 0.1)[index] - 0.01 * step,
        "prompts_set_aside": 3,
        "step_seconds": 5.0,
        "generate_seconds": 2.0,
        "score_seconds": 0.25,
        "logprob_seconds": 0.25,
        "train_seconds": 1.5,
        "sync_seconds": 0.125,
        "measure_seconds": 0.25,
        "save_seconds": 0.125,
        "entropy_mean": 0.5 - 0.1 * index,
        "sampler_logprob_error_mean": 1.01 + 0.001 * step,
        "tokens_per_second": 1000.0,
        "peak_memory_bytes": 2**30 + index * 2**29,
    }


def measurements(index: int, step: int) -> dict[str, float]:
    """What is measured before the first step and after the last."""
    value = 0.2 * index + (0.25 if step == 0 else 0.35)
    return {"validation_reward_mean": value - 0.05, "probe_reward_mean": value}


def write_work(run: RunDir, part: str, seconds: float, *, status: str = "done", accelerators: int = 0) -> None:
    """The record of one process, begun as many minutes after the hour as there are records already."""
    run.work.mkdir(exist_ok=True)
    begun = len(list(run.work.iterdir()))
    hardware = {
        "accelerator": "NVIDIA H100 80GB HBM3" if accelerators else None,
        "num_accelerators": accelerators,
        "num_hosts": 1,
        "processor": "A processor",
        "num_cores": 16,
        "memory_bytes": 2**37,
    }
    record = {"part": part, "started_at": f"2026-11-26T04:{begun:02d}:00+00:00", "hardware": hardware}
    write_json(run.work / f"{begun:02d}.json", {**record, "status": status, "seconds": seconds})


def write_evaluation(run: RunDir, index: StageIndex | None) -> Path:
    """The evaluation of a stage's model, or of the base model (None), and its samples."""
    folder = run.base if index is None else run.stage(index).hf
    manifest = read_manifest(folder)
    assert manifest is not None
    path = run.evaluation(manifest["digest"])
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [sample_row(index, problem, sample) for problem in range(8) for sample in range(SAMPLES)]
    pd.DataFrame(samples).to_parquet(path.with_suffix(".parquet"), index=False)
    value = PASS_AT_1[index]
    with_k = {"1": value, "4": {**value, "value": value["value"] + 0.01}}
    results = {
        "model_digest": manifest["digest"],
        "benchmark": "test",
        "dataset_digest": "bbbb",
        "protocol": {"prompt_template": "{problem}", **run.config.evaluation.protocol.model_dump(mode="json")},
        "num_problems": 8,
        "pass_at_1": value,
        "pass_at_k": with_k,
        "majority_at_k": with_k,
        "agreement_at_k": with_k,
        "response_tokens_mean": 50.25,
        "truncated_fraction": 0.125,
        "no_answer_fraction": 0.0625,
        "unscored_count": 7,
        "problems": [problem_row(index, problem) for problem in range(8)],
    }
    write_json(path, results)
    return path


def problem_row(index: StageIndex | None, problem: int) -> dict[str, Any]:
    """One row of `problems`."""
    counts = {"num_correct": RIGHT[index][problem], "num_scored": SAMPLES, "num_samples": SAMPLES}
    return {"index": problem, "problem": f"Compute {problem} + 1 < 99", "answer": str(problem + 1), **counts}


def sample_row(index: StageIndex | None, problem: int, sample: int) -> dict[str, Any]:
    """One row of the samples: the right responses come first; of problem 7, the others are cut off."""
    right = sample < RIGHT[index][problem]
    truncated = problem == 7 and not right
    tokens = 30 if (problem, sample) == (2, 0) else 12 * (problem + 1)
    answer = problem + 1 if right else 55
    return {
        "index": problem,
        "sample": sample,
        "response": EVIL if (problem, sample) == (0, 0) else f"so it is \\boxed{{{answer}}}",
        "response_tokens": tokens,
        "reward": 1.0 if right else 0.0,
        "truncated": truncated,
        "extracted": None if truncated else str(answer),
    }
