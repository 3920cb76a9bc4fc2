"""Prefect's settings, from the project's prefect.toml, whichever folder the command is started in.

Prefect itself reads prefect.toml from the working directory only and leaves relative paths to the reader. Here each
line becomes the environment variable that it stands for, so that the server started below reads the same.
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
PATHS = ("PREFECT_HOME", "PREFECT_RESULTS_LOCAL_STORAGE_PATH", "PREFECT_SERVER_MEMO_STORE_PATH")

# The terminal belongs to the command: what Prefect logs goes to its own interface, where the run is.
TERMINAL = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "DO_NOT_TRACK": "1"}


def apply_prefect_settings() -> None:
    """Set the project's Prefect settings in the environment, where it does not say otherwise.

    To be called before Prefect is imported.
    """
    values = tomllib.loads((PROJECT / "prefect.toml").read_text(encoding="utf-8"))
    for name, value in {**dict(_variables(values, "PREFECT")), **TERMINAL}.items():
        os.environ.setdefault(name, str(PROJECT / value) if name in PATHS else value)


def _variables(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = f"{prefix}_{key.upper()}"
        if isinstance(value, dict):
            yield from _variables(value, name)
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def enter_project() -> dict[str, str]:
    """Make the project the working directory; the step before each run of a deployment, wherever its worker is."""
    os.chdir(PROJECT)
    return {"directory": str(PROJECT)}
