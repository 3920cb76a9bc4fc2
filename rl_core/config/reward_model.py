"""The training of a reward model on preference pairs."""

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
    batch_pairs: int = Field(8, ge=1, description="pairs per optimizer update")
    epochs: int = Field(2, ge=1, description="passes over the pairs")
    max_tokens: int = Field(
        1024, ge=2, description="of prompt and response; pairs with a longer one are set aside, and counted"
    )
