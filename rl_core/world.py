"""The processes that train together: device, rank, and the few collectives the loop needs."""

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.distributed as dist

LEAVE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class World:
    """This process among those of the run."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls) -> Self:
        """Join the processes that torchrun started, or be the only one."""
        rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        local_rank = int(os.environ.setdefault("LOCAL_RANK", "0"))
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        device = torch.device("cpu") if accelerator is None else torch.device(accelerator.type, local_rank)
        if accelerator is not None:
            torch.accelerator.set_device_index(local_rank)
        if not dist.is_initialized():
            store = None if "RANK" in os.environ else dist.HashStore()  # alone: nobody to meet, no port to open
            dist.init_process_group(_backend(device), rank=rank, world_size=size, store=store)
        return cls(rank, size, device)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all ranks."""
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """The value of every rank, by rank, on every rank."""
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def barrier(self) -> None:
        """Wait for every rank."""
        self.sum([0.0])

    def share(self, count: int, *, group_size: int = 1) -> range:
        """The indices 0..count-1 that are this rank's; as even as can be, in order over the ranks.

        Args:
            group_size: ranks side by side that have one share together; divides the number of ranks.
        """
        group, num_groups = self.rank // group_size, self.size // group_size
        return range(group * count // num_groups, (group + 1) * count // num_groups)

    def leave(self) -> None:
        """End the process group, unless the sampler has ended it.

        A thread of gloo's drops the tensor of a collective a moment after its result is there, and needs the
        interpreter for that: one that finds it ending aborts the process, with all its work done.
        """
        if dist.is_initialized():
            dist.destroy_process_group()
        if self.size > 1:
            time.sleep(LEAVE_SECONDS)


def _backend(device: torch.device) -> str:
    """Of the device, and gloo beside it: checkpoints and rollouts travel as objects of the CPU."""
    if device.type == "cpu":
        return "gloo"
    return f"cpu:gloo,{device.type}:{dist.get_default_backend_for_device(device.type)}"


def derive_seed(*parts: int | str) -> int:
    """A seed in 0..2**63-1 from (run seed, purpose, step, index): the same parts give the same seed everywhere."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "big") for part in parts]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def seed_everything(*parts: int | str) -> None:
    """Seed the global generators of Python, numpy and torch, for whatever draws from them.

    Called at the head of each step with the step among the parts: the state of every generator is then a function of
    the step, and needs no place in a checkpoint.
    """
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
