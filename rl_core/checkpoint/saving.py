"""Saving while training goes on: the step waits for a copy of its tensors, a thread writes and publishes them.

`CheckpointSaver` is what the training loop calls; what a checkpoint holds is said in `state`. The thread's collectives
are all inside torch.distributed.checkpoint, over a process group of its own, so that they never meet those of training
and every rank learns of any rank's failure.
"""

import copy
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from transformers import PreTrainedTokenizerBase

from rl_core.checkpoint.copies import HostCopies
from rl_core.checkpoint.probe import last_logits, probe_prompts, write_probe
from rl_core.checkpoint.state import CRITIC_WEIGHTS, prune_checkpoints
from rl_core.checkpoint.tensors import write_tensors
from rl_core.config import RecipeConfig, dump_config
from rl_core.errors import MistakeError
from rl_core.manifest import publish, write_json, write_manifest
from rl_core.training.critic import Critic, HiddenStatesCritic
from rl_core.training.learner import Learner
from rl_core.training.trained_module import TrainedModule

FREE_SPACE_FACTOR = 1.1  # of what a checkpoint takes, that must be free before one is written
BYTES_PER_PARAMETER = 12  # float32 weight and two moments
# What torch and the file system raise where a file cannot be written; torch.save turns an OSError into a RuntimeError.
OF_THE_DISK = (OSError, RuntimeError)


class CheckpointSaver:
    """The checkpoints of one training, written one after another beside it. Every rank has one and calls it alike.

    Leave it as a context manager: what is being written is then published before the process group ends.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        config: RecipeConfig,
        key: str,
        tokenizer: PreTrainedTokenizerBase,
        prompts: list[tuple[int, ...]],
        critic: Critic | HiddenStatesCritic | None = None,
    ) -> None:
        """Make what all checkpoints have in common. A collective call.

        Args:
            key: digest of everything that the training is made from; see `run_dir.RunDir`.
            prompts: of the training; the policy's logits on the first few are stored.
        """
        self.latest: Path | None = None  # published, or being written
        self.write_seconds: float | None = None  # of the last one that was published, in the thread
        self._learner, self._critic, self._config, self._key = learner, critic, config, key
        self._prompts = probe_prompts(prompts)
        self._files = _unchanging_files(learner, tokenizer, config) if learner.world.is_first else {}
        self._copies = HostCopies(learner)
        self._critic_copies = None if critic is None else HostCopies(critic)
        self._group = dist.new_group(backend="gloo")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            self.finish()
        except Exception as failure:
            if kind is None:
                raise
            print(f"error: {failure}", file=sys.stderr)  # what the training ended with decides the exit code
        finally:
            self._thread.shutdown()

    def save(self, directory: Path, state: dict[str, Any]) -> None:
        """Start to write a checkpoint, once the one before is published. A collective call.

        Raises:
            MistakeError: there is not enough free space, or the checkpoint before could not be written.
        """
        self.finish()
        partial = directory.with_name(directory.name + ".partial")
        world = self._learner.world
        if world.is_first:
            shutil.rmtree(partial, ignore_errors=True)
        world.barrier()
        require_space(directory.parent, [self._learner] if self._critic is None else [self._learner, self._critic])
        self._copies.update()
        logits = last_logits(self._learner.causal_lm, self._prompts, world.device)
        state = {**copy.deepcopy(state), "optimizer_steps": optimizer_steps(self._learner)}
        if self._critic is not None and self._critic_copies is not None:
            self._critic_copies.update()
            state["critic_optimizer_steps"] = optimizer_steps(self._critic)
        self.latest = directory
        self._writing = self._thread.submit(self._write, partial, directory, state, logits)

    def finish(self) -> None:
        """Wait until what is being written is published.

        Raises:
            MistakeError: it could not be written. Every rank raises it.
        """
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            self.write_seconds = writing.result()
        except CheckpointException as failure:
            assert self.latest is not None, "something was being written"
            raise told_failure(failure, self.latest) from failure

    def _write(self, partial: Path, directory: Path, state: dict[str, Any], logits: torch.Tensor) -> float:
        """Write a checkpoint whole; the seconds it took. Runs in the thread, on every rank at once."""
        start = time.perf_counter()
        if self._critic_copies is not None:
            write_tensors(partial / CRITIC_WEIGHTS, self._critic_copies.weights, self._group)
            write_tensors(partial / "critic" / "optimizer", self._critic_copies.moments, self._group)
        write_tensors(partial / "policy" / "weights", self._copies.weights, self._group)
        write_tensors(
            partial / "trainer" / "optimizer",
            self._copies.moments,
            self._group,
            then=lambda: self._complete(partial, directory, state, logits),
        )
        return time.perf_counter() - start

    def _complete(self, partial: Path, directory: Path, state: dict[str, Any], logits: torch.Tensor) -> None:
        """Add to the tensors of all ranks what else belongs to a checkpoint, and publish it. On the first rank."""
        for name, content in self._files.items():
            (partial / name).write_bytes(content)
        write_probe(partial / "policy", self._prompts, logits)
        write_json(partial / "trainer" / "state.json", state)
        learner = self._learner
        write_manifest(partial, key=self._key, world_size=learner.world.size, zero_stage=learner.zero_stage)
        publish(partial, directory)
        prune_checkpoints(directory.parent, self._key, self._config.checkpoint.keep_last)


def _unchanging_files(learner: Learner, tokenizer: PreTrainedTokenizerBase, config: RecipeConfig) -> dict[str, bytes]:
    """Configuration and tokenizer as the files of a checkpoint, by path: made once, and not beside the training."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        learner.causal_lm.config.save_pretrained(folder)
        learner.causal_lm.generation_config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        files = {f"policy/{file.name}": file.read_bytes() for file in folder.iterdir()}
    return {**files, "config.yaml": dump_config(config).encode()}


def optimizer_steps(module: TrainedModule) -> int:
    """That its optimizer has taken."""
    return int(next(iter(module.adamw.state.values()))["step"])


def require_space(folder: Path, modules: Sequence[TrainedModule]) -> None:
    """Raise MistakeError where the disk has not room for a checkpoint of these modules."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = sum(getattr(p, "ds_numel", p.numel()) for module in modules for _, p in module.named_parameters())
    needed = FREE_SPACE_FACTOR * BYTES_PER_PARAMETER * parameters
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MistakeError(
            f"{folder}: a checkpoint needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: make room, or lower "
            "checkpoint.keep_last; the run continues from its last checkpoint"
        )


def told_failure(failure: CheckpointException, directory: Path) -> Exception:
    """A failed write as a person should read it; one that is not the disk's with its traceback."""
    problems = {rank: problem for rank, (problem, _) in failure.failures.items()}
    if not all(isinstance(problem, OF_THE_DISK) for problem in problems.values()):
        return RuntimeError(f"{directory}: {failure}")
    reasons = "; ".join(f"rank {rank}: {problem!r}" for rank, problem in problems.items())
    free = shutil.disk_usage(directory.parent).free
    return MistakeError(
        f"{directory} could not be written ({reasons}); {free / 1e9:.1f} GB are free there: see to the disk, and run "
        "the command again: it continues from the checkpoint before"
    )
