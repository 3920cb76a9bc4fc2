"""The programs that check what is in docker/: they come with requirements/test.txt and need no engine."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def run(name: str, *arguments: object, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program of the test environment, and return what it said."""
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.exists() else shutil.which(name)
    assert program, f"{name} is not installed: pip install --no-deps --require-hashes -r requirements/test.txt"
    command = [program, *map(str, arguments)]
    return subprocess.run(command, env=None if env is None else dict(env), capture_output=True, text=True, check=False)
