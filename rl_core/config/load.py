"""From a YAML file and dotted overrides to a checked configuration, or one clear message."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from rl_core.config.recipe import RecipeConfig
from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.config.section import Section
from rl_core.errors import MistakeError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
EMBEDDED_PRESET = CONFIGS / "embedded.yaml"
REEVALUATION_PRESET = CONFIGS / "reevaluation" / "default.yaml"
Settings = TypeVar("Settings", bound=Section)

GIVEN_BY_NAME = {"protocol": "base"}  # groups of settings that may be written as a name: the field it stands for


def load_config(file: Path | None = None, overrides: Sequence[str] = ()) -> RecipeConfig:
    """The recipe in `file` (default: the embedded preset) with `key.path=value` overrides applied.

    Raises:
        MistakeError: the file is missing or not YAML, an override has no `=` or names nothing, or a value is
            refused by the schema; the message gives the dotted field, the value and what is allowed.
    """
    file = file or EMBEDDED_PRESET
    return check_config(read_settings(file, overrides), origin=str(file))


def load_reevaluation(file: Path | None = None, overrides: Sequence[str] = ()) -> ReevaluationConfig:
    """The settings of a re-evaluation, as `load_config` reads a recipe; the default is the file that is shipped."""
    file = file or REEVALUATION_PRESET
    return checked(ReevaluationConfig, read_settings(file, overrides), origin=f"{file} is not a valid re-evaluation")


def read_settings(file: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """What a YAML file says, with overrides applied; not yet checked."""
    values = _read_yaml(file)
    apply_overrides(values, overrides)
    return values


def check_config(values: Any, *, origin: str) -> RecipeConfig:
    """`values` as a recipe, or a MistakeError with one line for each field that is wrong."""
    return checked(RecipeConfig, values, origin=f"{origin} is not a valid recipe")


def checked(section: type[Settings], values: Any, *, origin: str) -> Settings:
    """`values` as the settings of a section, or a MistakeError with one line for each field that is wrong."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors(include_url=False)]
        lines = [f"  {_describe(problem)}" for problem in problems if not _repeats(problem, problems)]
        raise MistakeError("\n".join([f"{origin}:", *lines])) from None


def dump_config(config: Section) -> str:
    """The resolved settings as YAML: every value explicit (see `section.GrownSection`), in the schema's order."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise MistakeError(f"--config {file}: no such file")
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no text, or a date that is none
        raise MistakeError(f"--config {file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise MistakeError(f"--config {file}: holds no settings (expected `key: value` lines)")
    return values


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set what each `key.path=value` names, in place and in turn; what names a whole group comes first.

    Raises:
        MistakeError: as `apply_override`.
    """
    for override in sorted(overrides, key=lambda override: not _names_group(override.partition("=")[0].split("."))):
        apply_override(values, override)


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set what `key.path=value` names, in place; a group that is named anew keeps nothing of what it was.

    Raises:
        MistakeError: it has no `=`, its value is not YAML, or it names nothing that can be there.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise MistakeError(f"override {override!r}: expected key.path=value, for example stages.0.steps=100")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # PyYAML's own for a date that is none, such as 2020-13-45
        raise MistakeError(f"override {override!r}: the value is not YAML; special characters need quotes") from None
    *parents, last = path.split(".")
    node: Any = values
    for parent in parents:
        node = _descend(node, parent, override)
    if isinstance(node, list):
        node[_index(node, last, override)] = value
    elif isinstance(node, dict):
        if value is not None and _names_group([*parents, last]):
            node.clear()
        node[last] = value
    else:
        raise MistakeError(f"override {override!r}: {'.'.join(parents)} holds no fields")


def _names_group(path: Sequence[str]) -> bool:
    """Whether it is the name that a group of settings may be written as: evaluation.protocol.base."""
    return len(path) > 1 and GIVEN_BY_NAME.get(path[-2]) == path[-1]


def _descend(node: Any, key: str, override: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, override)]
    if isinstance(node, dict):
        if node.get(key) is None:
            node[key] = {}
        elif key in GIVEN_BY_NAME and isinstance(node[key], str):
            node[key] = {GIVEN_BY_NAME[key]: node[key]}
        return node[key]
    raise MistakeError(f"override {override!r}: {key} is inside a value that holds no fields")


def _index(node: list[Any], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) >= len(node):
        raise MistakeError(f"override {override!r}: {key} is not an index of a list of {len(node)} (0 is the first)")
    return int(key)


def _repeats(problem: dict[str, Any], problems: list[dict[str, Any]]) -> bool:
    """Whether the problem follows from another: inherited by a stage, or an item that failed and so is missing."""
    location = problem["loc"]
    inherited = location[0:1] == ("stages",) and any(other["loc"] == location[2:] for other in problems)
    emptied = problem["type"] == "too_short" and any(
        len(other["loc"]) > len(location) and other["loc"][: len(location)] == location for other in problems
    )
    return inherited or emptied


def _describe(problem: dict[str, Any]) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "the settings"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{field}: unknown key"
    if problem["type"] == "missing":
        return f"{field}: required, but not given"
    received = problem.get("input")
    shown = f" (received {received!r})" if not isinstance(received, (dict, list, tuple)) else ""
    return f"{field}: {message}{shown}"
