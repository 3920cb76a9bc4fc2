"""One run at a time on a device: a lock on a file for each, held by the process of a stage as long as it lives.

Two runs on one accelerator take each other's memory, hours after they were started. The lock ends with the process,
however that ends; so nothing is left to clean up. Devices of another machine, of a container with another folder of
locks, or given out by a launcher of one's own (Slurm, torchrun) are not seen here.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rl_core.driver import ask_driver, devices_asked_for
from rl_core.environment import has_accelerator
from rl_core.file_lock import file_lock

ON_DEVICES = frozenset({"warm-up", "sft", "pairs", "reward-model", "train", "evaluate"})  # stages that compute
LOCKS_VARIABLE = "DEEPSCALER_DEVICE_LOCKS"  # the folder, where several containers share one machine's devices
LOCKS = Path("/tmp/deepscaler-devices")


@contextmanager
def devices_of(what: str) -> Iterator[None]:
    """The devices that this process sees, for `what` alone until the block ends; waits for them, and says so.

    Nothing to wait for where there is no accelerator, and under a launcher, which gave this process its device.
    """
    names = [] if "RANK" in os.environ or not has_accelerator() else visible_devices()
    with ExitStack() as held:
        for name in sorted(names):  # everybody in one order: two runs never wait for each other
            held.enter_context(_locked(name, what))
        yield


def visible_devices() -> list[str]:
    """A name for each accelerator that CUDA_VISIBLE_DEVICES leaves, the same in every process and container."""
    present, asked = _present_devices(), devices_asked_for()
    return present if asked is None else [_resolved(name, present) for name in asked]


def _resolved(name: str, present: Sequence[str]) -> str:
    """An index, or the beginning of an identifier, as the identifier."""
    if name.isdecimal():
        return present[int(name)] if int(name) < len(present) else f"device-{name}"
    return next((known for known in present if known.startswith(name)), name)


def _present_devices() -> list[str]:
    """By index, in the order of the bus, which is CUDA's own where all devices are alike."""
    rows = ask_driver("uuid")
    if rows is not None:
        return [uuid for (uuid,) in rows]
    nodes = [path.name for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    return sorted(nodes, key=lambda name: int(name.removeprefix("nvidia")))


@contextmanager
def _locked(name: str, what: str) -> Iterator[None]:
    folder = Path(os.environ.get(LOCKS_VARIABLE, LOCKS))
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)  # every user of the machine has runs
    with file_lock(folder / f"{name}.lock", holder=what, wanted=f"device {name}"):
        yield
