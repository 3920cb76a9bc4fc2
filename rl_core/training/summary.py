"""summary.json of a stage: what its training ended with. Conversion and evaluation add to it."""

import json
from typing import Any

from rl_core.config import StageIndex
from rl_core.manifest import read_json, read_manifest, write_json
from rl_core.run_dir import RunDir


def read_summary(run: RunDir, index: StageIndex) -> dict[str, Any] | None:
    """The summary of a finished training of this recipe whose checkpoint is whole; otherwise None."""
    stage = run.stage(index)
    summary = read_json(stage.summary)
    if not isinstance(summary, dict) or summary.get("status") != "complete":
        return None
    manifest = read_manifest(stage.root / summary["checkpoint"])
    if manifest is None or manifest["config_digest"] != run.keys.stage(index):
        return None
    return summary


def write_summary(run: RunDir, index: int) -> None:
    """Say that the training of a stage is finished, and which of its checkpoints goes on."""
    stage, config = run.stage(index), run.config.stages[index]
    lines = [json.loads(line) for line in stage.metrics.read_text(encoding="utf-8").splitlines()]
    probe = {line["step"]: line.get("probe_reward_mean") for line in lines}
    before, after = probe.get(0), probe.get(config.steps)
    summary = {
        "status": "complete",
        "stage": config.name,
        "index": index,
        "steps": config.steps,
        "checkpoint": str(stage.checkpoint(config.steps).relative_to(stage.root)),
        "model_digest": None,
        "hf": None,
        "evaluation": None,
        "promotion": {"decision": "last step", "step": config.steps, "numbers": {"probe_reward_mean": after}},
        "probe": {"before": before, "after": after},
    }
    write_json(stage.summary, summary)


def update_summary(run: RunDir, index: StageIndex, **values: Any) -> None:
    """Add to a stage's summary."""
    stage = run.stage(index)
    write_json(stage.summary, {**(read_json(stage.summary) or {}), **values})
