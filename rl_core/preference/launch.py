"""Starts the training of the reward model, in one process or several, judges what came of it, and converts it."""

import os
from typing import Any

from rl_core.config import RewardModelConfig
from rl_core.errors import GuardStop, MistakeError
from rl_core.manifest import read_json, read_manifest
from rl_core.part_keys import finished_part
from rl_core.run_dir import RunDir
from rl_core.training.launch import is_worker, num_processes, require_policy_and_data, start_workers

COMMAND = "reward-model"
CHANCE = 0.5


def train_reward_model(run: RunDir) -> None:
    """Train the reward model on `run.pairs` and fill `run.reward_model`; return at once when it is done.

    It goes on from its last checkpoint.

    Raises:
        MistakeError: the recipe has no `reward_model`, or what it is made from is not there yet.
        GuardStop: it knows no better than chance which of two held-out responses is better, or what was converted is
            not what was trained.
    """
    config = run.config.reward_model
    if config is None:
        raise MistakeError("reward_model: the recipe has no such section")
    if finished_part(run.reward_model, run.keys.reward_model()) is not None:
        print("reward model: already there")
        return
    summary = read_summary(run)
    if summary is None:
        _require_inputs(run)
        processes = num_processes(run.config)
        if not is_worker(processes):
            start_workers(run, [COMMAND], run.reward_model_training, processes)
            return  # the first of them has judged and converted it
        from rl_core.preference.training import train

        train(run, config)
        summary = read_summary(run)
    assert summary is not None, "a training that ends has written its summary"
    _judge(config, summary["held_out"])
    if os.environ.get("RANK", "0") == "0":
        from rl_core.preference.export import export_reward_model

        export_reward_model(run, config, summary)


def read_summary(run: RunDir) -> dict[str, Any] | None:
    """The summary of a finished training of this recipe whose checkpoint is whole; otherwise None."""
    training = run.reward_model_training
    summary = read_json(training.summary)
    if not isinstance(summary, dict) or summary.get("status") != "complete":
        return None
    manifest = read_manifest(training.root / summary["checkpoint"])
    if manifest is None or manifest["config_digest"] != run.keys.reward_model_training():
        return None
    return summary


def _require_inputs(run: RunDir) -> None:
    require_policy_and_data(run, 0)
    if finished_part(run.pairs, run.keys.pairs()) is None:
        raise MistakeError(f"{run.pairs} does not hold the recipe's pairs: run `python -m rl_core pairs` first")


def _judge(config: RewardModelConfig, held_out: dict[str, Any]) -> None:
    """Say how good it is; stop where chance would be as good."""
    accuracy, matched = held_out["accuracy"], held_out["accuracy_length_matched"]
    told = f"{_in_words(accuracy)} of {accuracy['num_pairs']} held-out pairs of {accuracy['num_problems']} problems"
    print(f"reward model: right on {told}; with lengths matched {_in_words(matched)}", flush=True)
    if not held_out["more_than_length"]:
        above = held_out["length"]["above_baseline"]
        print(
            "warning: reward model: not told from a rule that sees lengths alone: right more often than the best of "
            f"them by {_in_words(above)}, and with lengths matched as above (chance: {CHANCE})",
            flush=True,
        )
    if accuracy["low"] > CHANCE or not config.require_above_chance:
        return
    raise GuardStop(
        f"reward model: it is right on {told}, whose interval includes chance ({CHANCE}) or lies below: rewards of it "
        "would mean nothing. The training is saved; more pairs (pairs.num_rows, pairs.num_samples), more held-out "
        "ones (pairs.held_out_fraction) or a higher reward_model.optimizer.learning_rate may help. To go on all the "
        "same: reward_model.require_above_chance=false"
    )


def _in_words(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "none"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
