"""Accelerators: what the driver sees, what torch sees, and what the recipe asks for.

The driver is asked through nvidia-smi. torch is asked in a process of its own, so that this one holds no device.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rl_core.config import RecipeConfig
from rl_core.doctor.finding import Finding, ok, stop, warning
from rl_core.driver import ask_driver
from rl_core.environment import has_accelerator

FIELDS = ("index", "name", "memory.total", "memory.used", "driver_version")  # of nvidia-smi --query-gpu; MiB
TORCH_SECONDS = 90.0
IN_USE_MIB = 1024  # of memory: an idle device shows a few hundred at most
SHARED_MEMORY = Path("/dev/shm")
SHARED_BYTES = 8 * 1024**3  # what collectives between ranks and the sampler pass through; Docker's default is 64 MiB
TORCH_SCRIPT = """
import json, torch
there = torch.accelerator.is_available()
count = torch.accelerator.device_count() if there else 0
cuda = torch.version.cuda
bfloat16 = bool(torch.cuda.is_bf16_supported()) if there and torch.cuda.is_available() else False
print(json.dumps({"version": torch.__version__, "cuda": cuda, "count": count, "bfloat16": bfloat16}))
"""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device, as nvidia-smi tells it."""

    index: str
    name: str
    total_mib: int
    used_mib: int
    driver: str


def devices(config: RecipeConfig) -> Iterator[Finding]:
    """The devices of this machine, against the recipe."""
    if not has_accelerator():
        yield _none(config)
        return
    gpus = driver_devices()
    if gpus:
        yield ok("devices", f"{len(gpus)} x {gpus[0].name}, {gpus[0].total_mib // 1024} GiB, driver {gpus[0].driver}")
    busy = [gpu for gpu in gpus if gpu.used_mib > IN_USE_MIB]
    if busy:
        held = ", ".join(f"{gpu.index} ({gpu.used_mib / 1024:.0f} GiB)" for gpu in busy)
        yield warning("devices", f"in use: {held}", "end what holds them (nvidia-smi), or set CUDA_VISIBLE_DEVICES")
    yield from _by_torch(config, len(gpus))
    yield from _shared_memory(config, len(gpus))


def driver_devices() -> list[Gpu]:
    """What nvidia-smi lists; nothing where it is not there or fails."""
    rows = ask_driver(*FIELDS) or []
    return [Gpu(row[0], row[1], _number(row[2]), _number(row[3]), row[4]) for row in rows]


def _none(config: RecipeConfig) -> Finding:
    if config.policy.model_name == "embedded" or config.rehearses is not None:
        return ok("devices", "no accelerator; the recipe runs on the CPU")
    return warning(
        "devices",
        "no accelerator: this recipe would train on the CPU",
        "run it where there is one, or rehearse it here: python -m flows.deepscaler_recipe --rehearse",
    )


def _by_torch(config: RecipeConfig, listed: int) -> Iterator[Finding]:
    try:
        command = [sys.executable, "-c", TORCH_SCRIPT]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TORCH_SECONDS)
        seen = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        yield stop("torch", f"cannot be asked for devices: {' '.join(reason)}", "see the message; reinstall torch")
        return
    found = f"torch {seen['version']}, built for CUDA {seen['cuda']}, sees {seen['count']} devices"
    if seen["count"] == 0:
        yield stop(
            "torch", found, "install torch's build for this driver, or a newer driver; check CUDA_VISIBLE_DEVICES"
        )
        return
    if seen["count"] < listed:
        yield warning("torch", f"{found} of {listed}", "is CUDA_VISIBLE_DEVICES meant?")
    else:
        yield ok("torch", found + ("" if seen["bfloat16"] else "; none computes in bfloat16"))
    processes = config.training.num_processes
    if processes != "auto" and processes > seen["count"]:
        found = f"training.num_processes is {processes}, and there are {seen['count']} devices"
        yield stop("processes", found, f"set it to auto, or to {seen['count']} at most")


def _shared_memory(config: RecipeConfig, listed: int) -> Iterator[Finding]:
    if max(listed, 1) == 1 or config.training.num_processes == 1 or not SHARED_MEMORY.is_dir():
        return
    size = shutil.disk_usage(SHARED_MEMORY).total
    found = f"{size / 1024**3:.1f} GiB in {SHARED_MEMORY}"
    if size < SHARED_BYTES:
        yield warning("shared memory", found, "give the container 16 GiB: docker run --shm-size=16g")
    else:
        yield ok("shared memory", found)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0  # "[N/A]" where a device does not say
