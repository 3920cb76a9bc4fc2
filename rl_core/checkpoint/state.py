"""What a checkpoint holds, everything that decides the next step of a training; restoring, finding, pruning.

    step_000010/
      policy/weights/          DCP: float32 parameters under their own names, all or those of the adapter
      policy/probe.safetensors fixed prompts and the policy's logits on them
      policy/config.json ...   the model's configuration and tokenizer
      trainer/optimizer/       DCP: AdamW's moments, <moment>.<parameter name>
      critic/weights/          DCP: the value model, where there is one
      critic/optimizer/        its moments
      trainer/state.json       steps, policy version, position in the data, coefficients that adapt, counters
      config.yaml              the resolved recipe
      manifest.json            written last

Random states need no file: every generator is seeded from (run seed, purpose, step, index), see `rl_core.world`.
Writing is in `saving`.
"""

import shutil
from pathlib import Path
from typing import Any

from rl_core.checkpoint.tensors import read_tensors
from rl_core.errors import MistakeError
from rl_core.manifest import read_json, read_manifest
from rl_core.training.critic import Critic, HiddenStatesCritic
from rl_core.training.learner import Learner
from rl_core.training.partitions import create_moments, write_moment, write_weight
from rl_core.training.trained_module import TrainedModule

CRITIC_WEIGHTS = Path("critic") / "weights"


def restore_checkpoint(
    directory: Path, learner: Learner, critic: Critic | HiddenStatesCritic | None = None
) -> dict[str, Any]:
    """Put policy and critic back where a checkpoint left them, at any number of ranks; returns the trainer's state.

    A collective call: every rank reads every tensor, one after another, and keeps its part.
    """
    state: dict[str, Any] = read_json(directory / "trainer" / "state.json")
    create_moments(learner, state["optimizer_steps"])
    restore_module(learner, directory / "policy" / "weights", directory / "trainer" / "optimizer")
    if critic is not None:
        if isinstance(critic, Critic):  # the other kind has its moments in the learner's optimizer
            create_moments(critic, state["critic_optimizer_steps"])
        restore_module(critic, directory / CRITIC_WEIGHTS, directory / "critic" / "optimizer")
    learner.world.barrier()
    return state


def restore_weights(directory: Path, module: TrainedModule) -> None:
    """Give a module the weights in a DCP folder, and leave its optimizer as it is. A collective call."""
    parameters = dict(module.named_parameters())
    for name, value in read_tensors(directory):
        write_weight(module, parameters[name], value)


def restore_module(module: TrainedModule, weights: Path, optimizer: Path) -> None:
    """Put a module's weights and moments back, whose kinds of moments must be there. A collective call.

    Args:
        weights, optimizer: DCP folders, as a checkpoint has them.
    """
    restore_weights(weights, module)
    parameters = dict(module.named_parameters())
    for name, value in read_tensors(optimizer):
        moment, _, parameter = name.partition(".")
        write_moment(module, parameters[parameter], moment, value)


def complete_checkpoints(folder: Path, key: str) -> list[Path]:
    """The complete checkpoints of a stage, oldest first.

    Raises:
        MistakeError: one was made by another recipe.
    """
    found = []
    for directory in sorted(folder.glob("step_*")):
        # A name with more behind the number is of an attempt that ended before it was published, or while it was.
        manifest = read_manifest(directory) if directory.name.removeprefix("step_").isdecimal() else None
        if manifest is None:
            continue
        if manifest["config_digest"] != key:
            raise MistakeError(f"{directory} was made with other settings: give another --run-dir, or remove it")
        found.append(directory)
    return found


def prune_checkpoints(folder: Path, key: str, keep: int) -> None:
    """Remove all but the newest `keep` complete checkpoints: older ones, and what interrupted attempts left behind."""
    kept = complete_checkpoints(folder, key)[-keep:]
    for directory in folder.glob("step_*"):
        if directory not in kept:
            shutil.rmtree(directory)
