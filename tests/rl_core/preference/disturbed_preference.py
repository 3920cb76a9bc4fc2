"""`python -m rl_core`, killed at one moment as `test_stages` asks by an environment variable.

KILLED_FILE: when so many files of samples are written. KILLED_STEP: when half of this step's checkpoint is written.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from rl_core.__main__ import main
from rl_core.preference import checkpoint, sampling


def write_samples_or_die(file: Path, *arguments: Any) -> None:
    """As the original; the file is whole, and has not its name yet."""
    write_samples(file, *arguments)
    if len(list(file.parent.glob("*.parquet"))) == int(os.environ.get("KILLED_FILE", -1)):
        os.kill(os.getpid(), signal.SIGKILL)


def write_tensors_or_die(folder: Path, *arguments: Any, **options: Any) -> None:
    """As the original, which writes the model's first and the optimizer's then."""
    killed = int(os.environ.get("KILLED_STEP", -1))
    if folder.parts[-3:] == (f"step_{killed:06d}.partial", "trainer", "optimizer"):
        os.kill(os.getpid(), signal.SIGKILL)
    write_tensors(folder, *arguments, **options)


write_samples, write_tensors = sampling.write_samples, checkpoint.write_tensors

if __name__ == "__main__":
    sampling.write_samples = write_samples_or_die
    checkpoint.write_tensors = write_tensors_or_die
    sys.exit(main())
