"""Runs whose models and evaluations are written as the stages write theirs, with right answers of a test's choice."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rl_core.config import dump_config, load_config
from rl_core.evaluation.statistics import estimate
from rl_core.leaderboard.models import Model, Series, series_of
from rl_core.manifest import publishing, read_manifest, write_json
from rl_core.run_dir import RunDir

STEPS = ("stages.0.steps=30", "stages.1.steps=30", "stages.2.steps=40")
SAMPLES = 8


def new_run(root: Path, *overrides: str) -> RunDir:
    """A run with a base model."""
    root.mkdir(parents=True)
    run = RunDir(root, load_config(None, ["name=synthetic", *STEPS, *overrides]))
    run.config_file.write_text(dump_config(run.config))
    run.config_digest_file.write_text(run.keys.recipe() + "\n")
    write_folder(run.base, run.keys.base(), "base")
    return run


def write_folder(folder: Path, key: str, content: str) -> str:
    """A finished folder with one file in it; its digest."""
    with publishing(folder, key=key) as partial:
        (partial / "content.txt").write_text(content)
    manifest = read_manifest(folder)
    assert manifest is not None
    return str(manifest["digest"])


def add_checkpoint(run: RunDir, index: int, step: int) -> str:
    """A checkpoint that a stage saved; its digest."""
    return write_folder(run.stage(index).checkpoint(step), run.keys.stage(index), f"{index} {step}")


def end_stage(run: RunDir, index: int, step: int | None = None) -> None:
    """What a stage ended with, from its last step or an earlier one."""
    stage, steps = run.stage(index), run.config.stages[index].steps
    write_folder(stage.hf, run.keys.hf(index), f"model {index}")
    checkpoint = stage.checkpoint(step or steps).relative_to(stage.root)
    write_json(stage.summary, {"status": "complete", "steps": steps, "checkpoint": str(checkpoint)})


def evaluate(
    run: RunDir, digest: str, right: Sequence[int], *, at: datetime | None = None, samples: int = SAMPLES, **other: Any
) -> Path:
    """An evaluation in which problem p was solved right[p] times."""
    file = run.evaluation(digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {**results(run.protocol, digest, right, samples), **other})
    if at is not None:
        os.utime(file, (at.timestamp(), at.timestamp()))
    return file


def results(protocol: Mapping[str, Any], digest: str, right: Sequence[int], samples: int = SAMPLES) -> dict[str, Any]:
    """The JSON of an evaluation."""
    pass_at_1 = estimate([count / samples for count in right])
    return {
        "model_digest": digest,
        "benchmark": "test",
        "dataset_digest": "d47a5e7",
        "protocol": dict(protocol),
        "num_problems": len(right),
        "pass_at_1": {"value": pass_at_1.value, "low": pass_at_1.low, "high": pass_at_1.high},
        "response_tokens_mean": 50.25,
        "truncated_fraction": 0.125,
        "no_answer_fraction": 0.0625,
        "unscored_count": 0,
        "problems": [
            {"index": index, "problem": f"problem {index}", "answer": "1", "num_correct": count, "num_scored": samples}
            for index, count in enumerate(right)
        ],
    }


def model(run: RunDir, name: str) -> Model:
    """The model of that name."""
    return next(each for each in series_of(run).models if each.name == name)


def names(series: Series) -> list[str]:
    return [each.name for each in series.models]
