"""How much more memory a piece of work holds at its peak than was held before it."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): sets the peak resident size to the present one
KIBIBYTE = 1024

Result = TypeVar("Result")


def peak_rise(work: Callable[[], Result], device: torch.device) -> tuple[Result, int]:
    """What the work returns, and in bytes by how much memory rose meanwhile.

    On an accelerator, of what torch allocated. On a CPU, of the pages that are resident, scratch space of libraries
    among them; what the allocator keeps of earlier work is given back first. Linux with glibc only.
    """
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats(device)
        before = torch.accelerator.memory_allocated(device)
        result = work()
        return result, torch.accelerator.max_memory_allocated(device) - before
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text(RESET_PEAK, encoding="ascii")
    before = _status("VmRSS")
    result = work()
    return result, _status("VmHWM") - before


def available_bytes(device: torch.device) -> int:
    """What could be allocated now."""
    if device.type != "cpu":
        free, _total = torch.get_device_module(device.type).mem_get_info(device)
        return int(free)
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return KIBIBYTE * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def _status(field: str) -> int:
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return KIBIBYTE * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
