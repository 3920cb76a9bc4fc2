"""The settings of an evaluation that belongs to no run: the sections of a recipe that it reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from rl_core.config.data import PromptConfig
from rl_core.config.evaluation import EvaluationConfig
from rl_core.config.load import apply_override, checked, load_config
from rl_core.config.models import PolicyConfig
from rl_core.config.rollout import RolloutConfig
from rl_core.config.section import Section
from rl_core.config.training import TrainingConfig

DEFAULT_PROTOCOL = "paper"
SECTIONS = ("rollout", "training", "evaluation")  # that a recipe gives whole


class StandaloneConfig(Section):
    """An evaluation of one model, under the names that a recipe has for the same things."""

    policy: PolicyConfig = Field(description="the model; its revision where it is on a hub, dtype and attention")
    data: PromptConfig | None = Field(None, description="the prompts that it was trained on; null: as its record says")
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="num_processes alone is read")
    evaluation: EvaluationConfig


def standalone_config(
    model: str, benchmark: str, protocol: Mapping[str, Any], config: Path | None, overrides: Sequence[str]
) -> StandaloneConfig:
    """The settings: of a recipe where one is given, of the defaults elsewhere; then those of this evaluation.

    Args:
        protocol: what the command line says of it: `base`, and single settings.
        config: a recipe, whose prompts the model was trained on; None: no recipe.

    Raises:
        MistakeError: a setting is refused; the message names it.
    """
    if config is None:
        values: dict[str, Any] = {"policy": {}, "evaluation": {}}
        for override in overrides:
            apply_override(values, override)
    else:
        recipe = load_config(config, overrides)
        prompt = {name: getattr(recipe.data, name) for name in PromptConfig.model_fields}
        sections = {name: getattr(recipe, name).model_dump(mode="json") for name in SECTIONS}
        kept = recipe.policy.model_dump(mode="json", include={"dtype", "attention"})
        values = {**sections, "policy": kept, "data": prompt}
    evaluation = values["evaluation"]
    evaluation |= {"benchmark": benchmark, "further_benchmarks": []}
    written = evaluation.get("protocol") or DEFAULT_PROTOCOL
    if "base" in protocol:
        written = {}
    evaluation["protocol"] = {**({"base": written} if isinstance(written, str) else written), **protocol}
    values["policy"] = {**values["policy"], "model_name": model}
    return checked(StandaloneConfig, values, origin=f"the evaluation of {model}")
