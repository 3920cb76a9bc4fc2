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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.distributed.checkpoint.api import CheckpointException

from rl_core.checkpoint.copies import HostCopies
from rl_core.checkpoint.probe import write_probe
from rl_core.checkpoint.saving import optimizer_steps, require_space, told_failure
from rl_core.checkpoint.state import prune_checkpoints, restore_module
from rl_core.checkpoint.tensors import write_tensors
from rl_core.config import RecipeConfig, dump_config
from rl_core.manifest import publish, read_json, write_json, write_manifest, write_text
from rl_core.preference.learner import RewardLearner
from rl_core.training.partitions import create_moments

MODEL = "model"


@dataclass(frozen=True, slots=True)
class Probe:
    """Conversations as token ids and the trainer's scores of them, [N, 1]."""

    sequences: Sequence[Sequence[int]]
    scores: torch.Tensor


class RewardSaver:
    """The checkpoints of one training; see `rl_core.supervised.loop.Saver`. Every rank has one and calls it alike."""

    def __init__(self, learner: RewardLearner, probe: Callable[[], Probe], *, config: RecipeConfig, key: str) -> None:
        """Args:
        probe: what the model says now. A collective call.
        key: digest of everything that the training is made from; see `run_dir.RunDir`.
        """
        self.latest: Path | None = None
        self.write_seconds: float | None = None  # nothing is written beside the training
        self._learner, self._probe, self._config, self._key = learner, probe, config, key
        self._copies = HostCopies(learner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """There is nothing under way."""

    def save(self, directory: Path, state: dict[str, Any]) -> None:
        """Write a checkpoint and publish it, then remove those that are older than the recipe keeps.

        A collective call.

        Raises:
            MistakeError: there is not enough free space, or it could not be written. Every rank raises it.
        """
        partial = directory.with_name(directory.name + ".partial")
        world = self._learner.world
        if world.is_first:
            shutil.rmtree(partial, ignore_errors=True)
        world.barrier()
        require_space(directory.parent, [self._learner])
        self._copies.update()
        probe = self._probe()
        try:
            write_tensors(partial / MODEL / "weights", self._copies.weights)
            write_tensors(
                partial / "trainer" / "optimizer",
                self._copies.moments,
                then=lambda: self._complete(partial, directory, state, probe),
            )
        except CheckpointException as failure:
            raise told_failure(failure, directory) from failure
        self.latest = directory

    def finish(self) -> None:
        """There is nothing to wait for."""

    def _complete(self, partial: Path, directory: Path, state: dict[str, Any], probe: Probe) -> None:
        """Add to the tensors of all ranks what else belongs to a checkpoint, and publish it. On the first rank."""
        learner = self._learner
        write_probe(partial / MODEL, [list(sequence) for sequence in probe.sequences], probe.scores)
        state = {**state, "optimizer_steps": optimizer_steps(learner)}
        write_json(partial / "trainer" / "state.json", state)
        write_text(partial / "config.yaml", dump_config(self._config))
        write_manifest(partial, key=self._key, world_size=learner.world.size, zero_stage=learner.zero_stage)
        publish(partial, directory)
        prune_checkpoints(directory.parent, self._key, self._config.checkpoint.keep_last)


def restore_checkpoint(directory: Path, learner: RewardLearner) -> dict[str, Any]:
    """Put the model and its optimizer back where a checkpoint left them; returns the trainer's state.

    A collective call: every rank reads every tensor, one after another, and keeps its part.
    """
    state: dict[str, Any] = read_json(directory / "trainer" / "state.json")
    create_moments(learner, state["optimizer_steps"])
    restore_module(learner, directory / MODEL / "weights", directory / "trainer" / "optimizer")
    learner.world.barrier()
    return state
