"""Two recipes side by side: which settings differ, and which are kept. Used by `rehearsal`."""

from collections.abc import Iterator, Mapping
from typing import Any

from rl_core.config.recipe import INHERITED_BY_STAGES, RecipeConfig

WHOLE = ("data.train", "data.test", "sft.data", "embedded")  # told in one piece, by what differs from the defaults
NOT_COMPARED = frozenset(("name", "rehearses", *INHERITED_BY_STAGES))  # stages hold the last in full
ABSENT = "-"


def differing(before: RecipeConfig, after: RecipeConfig) -> dict[str, tuple[str, str]]:
    """By dotted field the value of each, as text; of a setting that every stage has, the values of all."""
    old, new = dict(_settings(before)), dict(_settings(after))
    fields = [*old, *[field for field in new if field not in old]]
    return {
        field: (_told(old.get(field, ABSENT)), _told(new.get(field, ABSENT)))
        for field in fields
        if old.get(field, ABSENT) != new.get(field, ABSENT)
    }


def kept(before: RecipeConfig, after: RecipeConfig) -> dict[str, str]:
    """By section, the settings that `before` gives, rather than leave to their defaults, and that `after` has too."""
    old, new = dict(_settings(before)), dict(_settings(after))
    found: dict[str, list[str]] = {}
    for field in dict(_settings(before, exclude_unset=True)):
        if field in new and old[field] == new[field]:
            section, _, rest = field.replace("stages.*.", "stages.").partition(".")
            found.setdefault(section, []).append(f"{rest} {_told(old[field])}" if rest else _told(old[field]))
    return {section: ", ".join(settings) for section, settings in found.items()}


def _settings(config: RecipeConfig, *, exclude_unset: bool = False) -> Iterator[tuple[str, Any]]:
    values = config.model_dump(mode="json", exclude_unset=exclude_unset)
    short = config.model_dump(mode="json", exclude_defaults=True)
    for field, value in _leaves({key: value for key, value in values.items() if key not in (*NOT_COMPARED, "stages")}):
        yield field, _at(short, field) if field in WHOLE else value
    stages = [dict(_leaves(stage)) for stage in values["stages"]]
    for field in dict.fromkeys(field for stage in stages for field in stage):
        of_section = field.partition(".")[0] in INHERITED_BY_STAGES
        yield field if of_section else f"stages.*.{field}", tuple(stage.get(field, ABSENT) for stage in stages)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name; lists of plain values are settings."""
    if path in WHOLE or not (isinstance(value, dict) or _is_list_of_groups(value)) or not value:
        yield path, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))


def _is_list_of_groups(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _at(values: Any, field: str) -> Any:
    for key in field.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _told(value: Any) -> str:
    """A value in few characters; of all stages one where they agree."""
    if isinstance(value, tuple):
        return _told(value[0]) if len(set(map(repr, value))) == 1 else ", ".join(_told(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told(inner)}" for key, inner in value.items()) or "defaults"
    if isinstance(value, list):
        return f"[{', '.join(_told(item) for item in value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())
