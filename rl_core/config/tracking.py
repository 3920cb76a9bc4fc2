"""Where figures go besides the run's own folder."""

from typing import Literal

from pydantic import Field

from rl_core.config.section import Section


class TrackingConfig(Section):
    """Weights & Biases."""

    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "deepscaler-recipe"
    entity: str | None = None
    rollouts_every_steps: int = Field(10, ge=1, description="steps between two files of sampled responses")
