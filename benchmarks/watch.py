"""Time and memory of the parts of a piece of work, which may lie in each other."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from rl_core.memory import peak_memory_bytes


@dataclass(frozen=True, slots=True)
class Part:
    """What all calls of one part took together."""

    seconds: float = 0.0
    peak_bytes: int = 0  # that torch had allocated on an accelerator; resident on a CPU, since the process began
    device_bytes: int | None = None  # of an accelerator, in use by whomever when the part had ended


class Watch:
    """Takes the parts' figures; each is waited for to its end on the device. Parts are in the order of their starts."""

    def __init__(self, device: torch.device) -> None:
        self.parts: dict[str, Part] = {}
        self._device = device
        self._open: dict[str, int] = {}  # the peak of each part that has not ended

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add to a part what happens in the block."""
        before = self.parts.setdefault(name, Part())
        self._settle()
        self._open[name] = before.peak_bytes
        start = time.perf_counter()
        yield
        self._settle()
        seconds = time.perf_counter() - start
        self.parts[name] = Part(before.seconds + seconds, self._open.pop(name), self._device_bytes())

    def calls(self, owner: Any, method: str, name: str, *, within: str) -> None:
        """Make every call of a method a part, where it happens inside the part `within`."""
        called: Callable[..., Any] = getattr(owner, method)

        def watched(*arguments: Any, **options: Any) -> Any:
            if within not in self._open:
                return called(*arguments, **options)
            with self(name):
                return called(*arguments, **options)

        setattr(owner, method, watched)

    def _settle(self) -> None:
        """Wait for the device, and let every part that is open know the peak since this was last called."""
        if self._device.type != "cpu":
            torch.accelerator.synchronize()
        peak = peak_memory_bytes(self._device)
        self._open = {name: max(before, peak) for name, before in self._open.items()}
        if self._device.type != "cpu":
            torch.accelerator.reset_peak_memory_stats(self._device)

    def _device_bytes(self) -> int | None:
        if self._device.type == "cpu":
            return None
        free, total = torch.get_device_module(self._device.type).mem_get_info(self._device)
        return int(total - free)
