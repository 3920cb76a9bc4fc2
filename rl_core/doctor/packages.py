"""Are the packages there that a recipe runs on, in versions that are known to work? Imports none of them."""

import importlib.metadata
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from rl_core.config import RecipeConfig
from rl_core.doctor.finding import Finding, ok, stop, warning
from rl_core.errors import MistakeError
from rl_core.rollout.choose import VLLM_PACKAGES, choose_engine

PROJECT = "deepscaler-recipe"
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
COMMAND_VARIABLE = "RL_CORE_COMMAND"  # tasks start stages with it: then their packages are elsewhere
INSTALL = "install it as README.md says: make develop, or pip install -e '.[gpu]' on GPUs"


def packages(config: RecipeConfig) -> Iterator[Finding]:
    """What the stages import, and the sampler."""
    if _version("torch") is None:
        yield _no_torch()
        return
    absent, outside, held = [], [], 0
    for requirement in declared("cpu"):
        version = _version(requirement.name)
        if version is None:
            absent.append(requirement.name)
        elif not requirement.specifier.contains(version, prereleases=True):
            outside.append(f"{requirement.name} {version} (wants {requirement.specifier})")
        else:
            held += 1
    if absent:
        yield stop("packages", f"not installed: {', '.join(absent)}", INSTALL)
    if outside:
        yield stop("packages", f"in other versions than were tried: {', '.join(outside)}", INSTALL)
    if not absent and not outside:
        yield ok("packages", f"all {held} in the versions of pyproject.toml; torch {_version('torch')}")
    yield _sampler(config)


def declared(extra: str) -> list[Requirement]:
    """What an extra of the project asks for, with what it includes; from pyproject.toml, or as it was installed."""
    if PYPROJECT.is_file():
        project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
        return list(_resolved(extra, project["dependencies"], project["optional-dependencies"]))
    installed = [Requirement(text) for text in importlib.metadata.requires(PROJECT) or []]
    chosen = [one for one in installed if one.marker is None or one.marker.evaluate({"extra": extra})]
    return [one for one in chosen if one.name != PROJECT]


def _resolved(extra: str, always: list[str], extras: dict[str, list[str]]) -> Iterator[Requirement]:
    for requirement in map(Requirement, [*always, *extras[extra]]):
        if requirement.name == PROJECT:
            for included in requirement.extras:
                yield from _resolved(included, [], extras)
        else:
            yield requirement


def _no_torch() -> Finding:
    command = os.environ.get(COMMAND_VARIABLE)
    if command:
        return ok("packages", f"no torch here; stages are started elsewhere, by {COMMAND_VARIABLE}={command}")
    do = f"{INSTALL}; or, on a worker that only starts runs, set {COMMAND_VARIABLE} to the command of the stages"
    return stop("packages", "torch is not installed: no stage runs here", do)


def _sampler(config: RecipeConfig) -> Finding:
    try:
        found = str(choose_engine(config.rollout))
    except MistakeError as mistake:
        return stop("sampler", str(mistake), "set rollout.engine, or install what it names")
    wanted = next((one.specifier for one in declared("gpu") if one.name == "vllm"), None)
    version = next(filter(None, map(_version, VLLM_PACKAGES)), None)
    if found.startswith("rollouts by vllm") and wanted and version and not wanted.contains(version):
        return warning("sampler", found, f"the project was tried with vLLM {wanted}: install that")
    return ok("sampler", found)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
