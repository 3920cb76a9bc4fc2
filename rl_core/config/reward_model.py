"""The training of a reward model on preference pairs."""

from typing import Any

from pydantic import Field

from rl_core.config.models import CosineConfig, LoraConfig
from rl_core.config.section import Section


class RewardModelConfig(Section):
    """The stage `reward-model`: the model that the first stage starts with, a scalar head, and the pairwise loss."""

    lora: LoraConfig | None = Field(
        default_factory=lambda: LoraConfig(rank=8, alpha=16),
        description="train an adapter and the head, merged afterwards; null: all of the weights",
    )
    optimizer: CosineConfig = Field(default_factory=lambda: CosineConfig(weight_decay=0.0))
    centering: float = Field(
        0.0, ge=0, description="coefficient of (r_chosen + r_rejected)^2 in the loss, which keeps scores around zero"
    )
    batch_pairs: int = Field(8, ge=1, description="pairs per optimizer update")
    epochs: int = Field(2, ge=1, description="passes over the pairs")
    max_tokens: int = Field(
        1536,  # 512 of a prompt and 1024 of a response, which pairs.max_new_tokens allows by default
        ge=2,
        description="of prompt and response; pairs with a longer one are set aside, and counted",
    )
    validation_every_steps: int = Field(50, ge=1, description="loss on the held-out pairs, besides after the last step")
    require_above_chance: bool = Field(
        True, description="stop where the 95 % interval of the accuracy on held-out pairs includes 0.5"
    )

    def identity(self) -> dict[str, Any]:
        """Everything that decides what is trained: all settings but those that measure and guard."""
        return self.model_dump(mode="json", exclude={"validation_every_steps", "require_above_chance"})
