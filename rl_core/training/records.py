"""What a stage leaves to read: one line of metrics a step, and sampled responses as parquet."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rl_core.rollout.collect import Rollout


def write_metrics(file: Path, line: Mapping[str, Any]) -> None:
    """Append one line."""
    with file.open("a", encoding="utf-8") as metrics:
        metrics.write(json.dumps(line) + "\n")


def cut_metrics(file: Path, last_step: int, last_line: Mapping[str, Any] | None = None) -> None:
    """Drop the lines after `last_step`, which will be written again; all of them where nothing was saved.

    Args:
        last_line: of `last_step`, as its checkpoint holds it: written where a process ended between the two.
    """
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = {json.loads(line)["step"]: line for line in lines if last_step and line.endswith("}")}
    if last_line is not None:
        kept.setdefault(last_step, json.dumps(last_line))
    text = "".join(line + "\n" for step, line in kept.items() if step <= last_step)
    temporary = file.with_name(file.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def recorded_values(file: Path, name: str) -> list[Any]:
    """One metric of the steps that a file holds, in their order; None where a line lacks it."""
    return [json.loads(line).get(name) for line in file.read_text(encoding="utf-8").splitlines()]


def rollouts_table(rollouts: Sequence[Rollout]) -> pd.DataFrame:
    """One row for each response."""
    return pd.DataFrame(
        {
            "index": [rollout.problem.index for rollout in rollouts],
            "sample": [rollout.sample for rollout in rollouts],
            "problem": [rollout.problem.problem for rollout in rollouts],
            "answer": [rollout.problem.answer for rollout in rollouts],
            "response": [rollout.response for rollout in rollouts],
            "response_tokens": [len(rollout.completion.token_ids) for rollout in rollouts],
            "reward": [rollout.score.reward for rollout in rollouts],
            "truncated": [rollout.truncated for rollout in rollouts],
            "extracted": [rollout.score.extracted for rollout in rollouts],
        }
    )


def write_rollouts(file: Path, rollouts: Sequence[Rollout]) -> None:
    """Write a table of responses."""
    write_table(file, rollouts_table(rollouts))


def write_table(file: Path, table: pd.DataFrame) -> None:
    """Write parquet that is either wholly there or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".partial")
    table.to_parquet(temporary, index=False)
    temporary.replace(file)
