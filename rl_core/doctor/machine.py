"""Python, processors and memory."""

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from rl_core.doctor.finding import Finding, ok, stop, warning

OLDEST_PYTHON = (3, 11)
GIB = 1024**3
MEMORY_BYTES = 4 * GIB  # two processes with torch and the embedded recipe's tensors: measured below 3 GiB
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine() -> Iterator[Finding]:
    """What every recipe needs of a machine."""
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield stop("Python", version, "use Python 3.11 or newer")
    else:
        yield ok("Python", f"{version}, {sys.executable}")
    if not sys.platform.startswith("linux"):
        yield stop("system", platform.system(), "run it on Linux: processes that die with their parent need its kernel")
    available = available_memory()
    found = f"{_cores()} cores, {available / GIB:.1f} GiB of memory free"
    if available < MEMORY_BYTES:
        yield warning("processors, memory", found, f"leave {MEMORY_BYTES // GIB} GiB free, or the kernel may end a run")
    else:
        yield ok("processors, memory", found)


def available_memory() -> int:
    """Bytes that can be used without swapping; of a container's limit, where that is less."""
    text = Path("/proc/meminfo").read_text(encoding="ascii") if Path("/proc/meminfo").exists() else ""
    lines = dict(line.split(":", 1) for line in text.splitlines())
    free = int(lines.get("MemAvailable", "0 kB").split()[0]) * 1024
    limits = [int(value) for value in map(_limit, CGROUP_LIMITS) if value.isdigit()]
    return min([free, *limits])


def _limit(file: str) -> str:
    try:
        return Path(file).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
