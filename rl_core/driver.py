"""NVIDIA's driver, asked through nvidia-smi, and what CUDA_VISIBLE_DEVICES leaves of its devices. Imports no torch."""

import os
import shutil
import subprocess

ANSWER_SECONDS = 30.0  # a driver that wakes its devices takes a while; one that hangs must not hold a run
TOOL = "nvidia-smi"


def ask_driver(*fields: str) -> list[list[str]] | None:
    """Fields of `nvidia-smi --query-gpu` of each device, in the order of the bus; None where nobody answers."""
    if shutil.which(TOOL) is None:
        return None
    command = [TOOL, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [row for row in rows if len(row) == len(fields)]


def devices_asked_for() -> list[str] | None:
    """The indices or identifiers in CUDA_VISIBLE_DEVICES; None where it is not set, which is all devices."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if asked is None else [name.strip() for name in asked.split(",") if name.strip() not in ("", "-1")]
