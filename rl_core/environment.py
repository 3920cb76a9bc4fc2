"""What the numerical libraries read from the environment when they are first imported. Imports none of them."""

import os
from pathlib import Path

ACCELERATOR_DEVICES = ("/dev/nvidia0", "/dev/kfd")  # NVIDIA, AMD


def prepare_environment() -> None:
    """Set what was left open; to be called before torch is imported."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine lives where its weights come from
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # of hundreds of lines a start, those that matter
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # nothing is sent anywhere that nobody asked for
    if not has_accelerator():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        # Threads that wait for each other by spinning lose their cores to whatever else runs: with four other busy
        # processes on two cores a step took 15 s instead of 0.7. Alone on the machine, sleeping costs a quarter.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # the learner shares the threads


def has_accelerator() -> bool:
    """Whether there is a device to ask torch about."""
    return any(Path(device).exists() for device in ACCELERATOR_DEVICES)
