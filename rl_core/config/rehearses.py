"""What a rehearsal says of its recipe."""

from pydantic import Field

from rl_core.config.section import Section


class ScaledSetting(Section):
    """One setting that a rehearsal has otherwise than its recipe."""

    field: str = Field(description="dotted name; `*` is every stage")
    recipe: str
    rehearsal: str
    why: str


class RehearsesConfig(Section):
    """What a rehearsal is the toy size of."""

    recipe: str = Field(description="the recipe's name")
    scaled: tuple[ScaledSetting, ...]
