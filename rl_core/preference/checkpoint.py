"""The checkpoints of a reward model's training: written and restored at any number of ranks, bit for bit.

    step_000010/
      model/weights/           DCP: float32 parameters under their own names, all or those of the adapter and the head
      model/probe.safetensors  a few conversations, and the trainer's scores of them
      trainer/optimizer/       DCP: AdamW's moments, <moment>.<parameter name>
      trainer/state.json       steps, counters, the step's line of metrics
      config.yaml              the resolved recipe
      manifest.json            written last

Nothing else decides the next step: the order of the pairs is a function of the seed and the step. Unlike a policy's,
these are written while the training waits: an adapter is small, and a reward model is trained for minutes.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException

from rl_core.checkpoint.copies import HostCopies
from rl_core.checkpoint.probe import write_probe
from rl_core.checkpoint.saving import optimizer_steps, require_space, told_failure
from rl_core.checkpoint.state import prune_checkpoints, restore_weights
from rl_core.checkpoint.tensors import read_tensors, write_tensors
from rl_core.config import RecipeConfig, dump_config
from rl_core.manifest import publish, read_json, write_json, write_manifest, write_text
from rl_core.preference.learner import RewardLearner
from rl_core.training.partitions import create_moments, write_moment

MODEL = "model"


@dataclass(frozen=True, slots=True)
class Probe:
    """Conversations as token ids and the trainer's scores of them, [N, 1]."""

    sequences: Sequence[Sequence[int]]
    scores: torch.Tensor


def save_checkpoint(
    directory: Path, learner: RewardLearner, state: dict[str, Any], probe: Probe, *, config: RecipeConfig, key: str
) -> None:
    """Write a checkpoint and publish it, then remove those that are older than the recipe keeps. A collective call.

    Args:
        key: digest of everything that the training is made from; see `run_dir.RunDir`.

    Raises:
        MistakeError: there is not enough free space, or it could not be written. Every rank raises it.
    """
    partial = directory.with_name(directory.name + ".partial")
    if learner.world.is_first:
        shutil.rmtree(partial, ignore_errors=True)
    learner.world.barrier()
    require_space(directory.parent, [learner])
    copies = HostCopies(learner)
    copies.update()

    def complete() -> None:
        (partial / MODEL).mkdir(exist_ok=True)
        write_probe(partial / MODEL, [list(sequence) for sequence in probe.sequences], probe.scores)
        write_json(partial / "trainer" / "state.json", {**state, "optimizer_steps": optimizer_steps(learner)})
        write_text(partial / "config.yaml", dump_config(config))
        write_manifest(partial, key=key, world_size=learner.world.size, zero_stage=learner.zero_stage)
        publish(partial, directory)
        prune_checkpoints(directory.parent, key, config.checkpoint.keep_last)

    try:
        write_tensors(partial / MODEL / "weights", copies.weights)
        write_tensors(partial / "trainer" / "optimizer", copies.moments, then=complete)
    except CheckpointException as failure:
        raise told_failure(failure, directory) from failure


def restore_checkpoint(directory: Path, learner: RewardLearner) -> dict[str, Any]:
    """Put the model and its optimizer back where a checkpoint left them; returns the trainer's state.

    A collective call: every rank reads every tensor, one after another, and keeps its part.
    """
    state: dict[str, Any] = read_json(directory / "trainer" / "state.json")
    create_moments(learner, state["optimizer_steps"])
    restore_weights(directory / MODEL / "weights", learner)
    parameters = dict(learner.named_parameters())
    for name, value in read_tensors(directory / "trainer" / "optimizer"):
        moment, _, parameter = name.partition(".")
        write_moment(learner, parameters[parameter], moment, value)
    learner.world.barrier()
    return state
