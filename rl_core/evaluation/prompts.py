"""What a model was trained on, and whether it is asked that way. Imports no torch.

A model that is asked in other words than it learnt from is measured by its luck with them: an evaluation of one model
gave 3.3 % under one prompt and 36.7 % under the right one. So a difference is never passed over in silence.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rl_core.config.data import PromptConfig
from rl_core.manifest import read_json

FIELDS = ("prompt_template", "system_prompt")  # of a prompt; a chat template comes with the model's tokenizer
RECORD = "prompt"  # entry of a converted model's manifest


def prompt_record(prompt: PromptConfig) -> dict[str, Any]:
    """What is kept beside a model of the prompts that it was trained on."""
    return prompt.model_dump(mode="json", include=set(FIELDS))


def trained_prompt(folder: Path) -> PromptConfig | None:
    """The prompts that the model in a folder was trained on: of its own record, or of the run that it is part of.

    None where neither is there; a base model that its run took from elsewhere is not trained as the run says.
    """
    manifest = read_json(folder / "manifest.json")
    record = manifest.get(RECORD) if isinstance(manifest, dict) else None
    if record is None and not from_elsewhere(folder):
        roots = folder.resolve().parents
        record = next((found for root in roots if (found := _section_of_run(root, "data")) is not None), None)
    try:
        return PromptConfig(**{field: record[field] for field in FIELDS}) if record is not None else None
    except (KeyError, TypeError, ValidationError):
        return None


def from_elsewhere(folder: Path) -> bool:
    """Whether it is the base model of a run that did not make it."""
    model = folder.resolve()
    policy = _section_of_run(model.parent, "policy")
    return model.name == "base" and policy is not None and policy.get("model_name") != "embedded"


def prompt_facts(asked: PromptConfig, trained: PromptConfig | None) -> dict[str, Any]:
    """What results say of it: how the model was trained, where that is known, and whether it is asked the same way."""
    if trained is None:
        return {"trained_with": None, "as_trained": None}
    return {
        "trained_with": prompt_record(trained),
        "as_trained": all(getattr(asked, field) == getattr(trained, field) for field in FIELDS),
    }


def prompt_warning(asked: PromptConfig, trained: PromptConfig | None) -> str | None:
    """What a person is told where the model is not asked as it was trained, or where nobody knows how that was."""
    if trained is None:
        return f"warning: nothing says what this model was trained on; it is asked with {asked.prompt_template!r}"
    told = [
        f"{field} {getattr(asked, field)!r}, trained with {getattr(trained, field)!r}"
        for field in FIELDS
        if getattr(asked, field) != getattr(trained, field)
    ]
    return f"warning: this model is not asked as it was trained: {'; '.join(told)}" if told else None


def _section_of_run(root: Path, name: str) -> dict[str, Any] | None:
    """A section of a run's recipe; None where the folder is no run."""
    if not (root / "config.digest").is_file():
        return None
    try:
        recipe = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return None
    section = recipe.get(name) if isinstance(recipe, dict) else None
    return section if isinstance(section, dict) else None
