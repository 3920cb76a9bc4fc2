"""The settings of an evaluation that belongs to no run: the sections of a recipe that it reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from rl_core.config.data import PromptConfig
from rl_core.config.evaluation import EvaluationConfig
from rl_core.config.load import apply_overrides, checked, load_config
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
    of_protocol = [override for override in overrides if override.startswith("evaluation.protocol")]
    others = [override for override in overrides if override not in of_protocol]
    values: dict[str, Any] = {"policy": {}, "evaluation": {}}
    if config is None:
        apply_overrides(values, others)
    else:
        recipe = load_config(config, others)
        values = {name: getattr(recipe, name).model_dump(mode="json") for name in SECTIONS}
        values["policy"] = recipe.policy.model_dump(mode="json", include={"dtype", "attention"})
        values["data"] = {name: getattr(recipe.data, name) for name in PromptConfig.model_fields}
    values["policy"] |= {"model_name": model}
    values["evaluation"] |= {"benchmark": benchmark, "further_benchmarks": []}
    if "base" in protocol or config is None:
        values["evaluation"]["protocol"] = {"base": protocol.get("base", DEFAULT_PROTOCOL)}
    apply_overrides(values, of_protocol)
    written = values["evaluation"]["protocol"]
    values["evaluation"]["protocol"] = {**({"base": written} if isinstance(written, str) else written), **protocol}
    return checked(StandaloneConfig, values, origin=f"the evaluation of {model}")
