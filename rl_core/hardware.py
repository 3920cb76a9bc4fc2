"""What this machine is, as a report names it. Imports no torch where NVIDIA's own tool answers; makes no context."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl_core.driver import ask_driver, devices_asked_for
from rl_core.environment import has_accelerator


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a process has at hand."""

    accelerator: str | None  # name of the first
    num_accelerators: int  # on one host
    num_hosts: int
    processor: str
    num_cores: int
    memory_bytes: int

    @property
    def num_devices(self) -> int:
        """What is paid for: accelerators on all hosts; the hosts themselves where they have none."""
        return max(1, self.num_accelerators) * self.num_hosts

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def this_hardware() -> Hardware:
    """Of this machine, and as many like it as torchrun says."""
    names = _accelerators()
    return Hardware(
        accelerator=names[0] if names else None,
        num_accelerators=len(names),
        num_hosts=_num_hosts(),
        processor=_processor(),
        num_cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def _num_hosts() -> int:
    """From torchrun's variables; one where there are none."""
    processes, on_this_host = (int(os.environ.get(name) or 1) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return max(1, processes // max(1, on_this_host))


def _accelerators() -> list[str]:
    """The name of each accelerator that this process may use."""
    if not has_accelerator():
        return []
    rows, asked = ask_driver("name"), devices_asked_for()
    if rows is None:
        return _accelerators_by_torch()
    names = [name for (name,) in rows]
    return names if asked is None else names[: len(asked)]


def _accelerators_by_torch() -> list[str]:
    import torch

    if not torch.accelerator.is_available():
        return []
    device = torch.accelerator.current_accelerator()
    return [device.type if device else "accelerator"] * torch.accelerator.device_count()


def _processor() -> str:
    """Its model, as Linux tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
