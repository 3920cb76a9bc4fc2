"""What a report says of the run's own reward model."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from rl_core.manifest import write_json
from rl_core.preference.measures import ScoredPairs, measures
from rl_core.report.collect import collect
from rl_core.report.document import Block, Paragraph, Table
from rl_core.report.reward_model import reward_model
from tests.rl_core.report.synthetic_run import new_run

PARTS = (
    "pairs={}",
    "reward_model={}",
    "rewards=" + json.dumps([{"name": "reward_model", "kwargs": {"model": "trained"}}]),
)


def summary() -> dict[str, Any]:
    """Of four held-out pairs, of which the model has three right, the two of equal length one."""
    scored = ScoredPairs(
        problems=np.arange(4),
        chosen_scores=np.array([1.0, 2.0, 0.0, 1.0]),
        rejected_scores=np.array([0.0, 0.0, 1.0, 0.0]),
        chosen_tokens=np.array([20.0, 30.0, 10.0, 10.0]),
        rejected_tokens=np.array([10.0, 10.0, 10.0, 10.0]),
        from_model=np.array([True, True, True, False]),
    )
    return {
        "status": "complete",
        "steps": 1234,
        "pairs": {"train": {"pairs": 1878, "problems": 1598, "solution_chosen_fraction": 0.25}},
        "held_out": measures(scored, scored, matched_ratio=1.1),
        "scores": {"mean": 0.625, "std": 0.5},
    }


def section(folder: Path, *overrides: str, status: str = "complete") -> list[Block]:
    run = new_run(folder, *PARTS, *overrides)
    run.reward_model_training.root.mkdir()
    write_json(run.reward_model_training.summary, {**summary(), "status": status})
    return reward_model(collect(run))


def test_each_accuracy_stands_beside_what_length_alone_would_say(tmp_path: Path) -> None:
    blocks = section(tmp_path / "run")
    table = next(block for block in blocks if isinstance(block, Table))
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["all held-out pairs"][0].startswith("0.750 (")
    assert rows["lengths within a factor of 1.1"][0].startswith("0.500 (")
    assert rows["lengths within a factor of 1.1"][1:] == ["2", "2"]
    assert rows["the data set's solution chosen"][0].startswith("1.000 (")
    assert rows["instead of the model: the longer answer"][0].startswith("0.750 (")
    text = " ".join(part for block in blocks if isinstance(block, Paragraph) for part in block.parts)
    assert "1,878 pairs of 1,598 problems, 25.0 % of them with the data set's solution" in text
    assert "in 1,234 updates" in text
    assert "It is not told from a rule of lengths: right more often than the best of them by +0." in text
    assert "mean 0.625 and standard deviation 0.500" in text


def test_a_run_without_one_or_one_that_is_not_measured_yet_has_no_such_section(tmp_path: Path) -> None:
    assert reward_model(collect(new_run(tmp_path / "without"))) == []
    assert section(tmp_path / "under way", status="training") == []
