"""A recipe as the values of a form, such as Prefect's interface makes of the schema for a deployment."""

from typing import Any

from rl_core.config.recipe import INHERITED_BY_STAGES, RecipeConfig


def form_values(config: RecipeConfig) -> dict[str, Any]:
    """Every setting of the recipe, so that a form has nothing to fill in by defaults that are not the recipe's.

    A section of a stage that is the recipe's own is null: who changes the recipe's then changes the stage's with it.
    With the section itself in its place, the change would reach no stage, and nobody would be told.
    """
    values = config.model_dump(mode="json")
    for stage in values["stages"]:
        for name in INHERITED_BY_STAGES:
            if stage[name] == values[name]:
                stage[name] = None
    return values
