"""Opening a run: one process at a time, and never over the parts of another recipe."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rl_core.config import RecipeConfig, dump_config
from rl_core.errors import MistakeError
from rl_core.manifest import write_text
from rl_core.plan import OTHER_RECIPE, Part, all_parts
from rl_core.run_dir import RunDir

MAX_FIELDS_SHOWN = 12
MAX_CHARACTERS_SHOWN = 80  # of one value


def default_run_dir(config: RecipeConfig) -> Path:
    """Where a run of this recipe goes when nobody says where."""
    return Path("runs") / config.name


@contextmanager
def open_run(config: RecipeConfig, run_dir: Path | None = None) -> Iterator[RunDir]:
    """The run of `config` in `run_dir` (default: `default_run_dir`), for this process alone until the block ends.

    Writes config.yaml and config.digest.

    Raises:
        MistakeError: another process has the run open, or the folder holds parts of another recipe.
    """
    run = RunDir((run_dir or default_run_dir(config)).resolve(), config)
    with _locked(run.root):
        refuse_other_recipe(run)
        write_text(run.config_file, dump_config(config))
        write_text(run.config_digest_file, run.keys.recipe() + "\n")
        yield run


def refuse_other_recipe(run: RunDir) -> None:
    """Raise MistakeError when a part in the run directory was made by another recipe; touches nothing."""
    others = [part for part in all_parts(run) if part.state == OTHER_RECIPE]
    if others:
        raise MistakeError(_explain(run, others))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold an flock(2) on the directory itself: it ends with the process, however that ends."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise MistakeError(f"--run-dir {root}: cannot be used as a folder: {error.strerror}") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(directory)
        raise MistakeError(
            f"--run-dir {root}: another process is working on this run; wait for it, stop it, or give another --run-dir"
        ) from None
    try:
        yield
    finally:
        os.close(directory)


def _explain(run: RunDir, others: list[Part]) -> str:
    names = ", ".join(part.name for part in others)
    folders = " ".join(short_path(part.path) for part in others)
    return "\n".join(
        [
            f"--run-dir {short_path(run.root)} holds parts of another recipe: {names}",
            *_differences(run),
            f"Give another --run-dir, or remove what is to be made again: rm -r {folders}",
        ]
    )


def _differences(run: RunDir) -> list[str]:
    """One line for each setting that differs from the run's own config.yaml."""
    try:
        old = dict(_flat(yaml.safe_load(run.config_file.read_text(encoding="utf-8"))))
    except (OSError, yaml.YAMLError):
        return [f"  (its {run.config_file.name} cannot be read, so the settings that differ are not known)"]
    new = dict(_flat(run.config.model_dump(mode="json")))
    fields = [
        field for field in {**new, **old} if old.get(field) != new.get(field) and not field.startswith("rehearses.")
    ]
    if not fields:
        return ["  (the settings are the same: it was made by another version of this program)"]
    lines = [f"  {field}: {_value(old, field)} -> {_value(new, field)}" for field in fields[:MAX_FIELDS_SHOWN]]
    hidden = len(fields) - len(lines)
    return [*lines, f"  and {hidden} more"] if hidden else lines


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{path}.{key}" if path else str(key))


def _value(values: dict[str, Any], field: str) -> str:
    shown = repr(values[field]) if field in values else "(absent)"
    return shown if len(shown) <= MAX_CHARACTERS_SHOWN else f"{shown[:MAX_CHARACTERS_SHOWN]}..."


def short_path(path: Path) -> str:
    """The path as short as a person would write it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
