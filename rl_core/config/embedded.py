"""The project's own task and the model that a run makes for it."""

from typing import Literal

from pydantic import Field

from rl_core.config.section import Section

AnswerFormat = Literal["boxed", "answer_tag", "thought"]


class EmbeddedConfig(Section):
    """The project's own arithmetic task and the small base model that a run makes for it."""

    train_problems: int = Field(4000, ge=16)
    test_problems: int = Field(256, ge=8)
    max_depth: int = Field(14, ge=1, le=26, description="steps of the longest problem; a letter names each")
    hidden_size: int = Field(128, ge=16)
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(4, ge=1)
    num_key_value_heads: int = Field(2, ge=1)
    intermediate_size: int = Field(512, ge=16)
    context_tokens: int = Field(256, ge=64, description="the model's max_position_embeddings")
    answer_format: AnswerFormat = Field(
        "boxed",
        description="how problems are solved: steps and \\boxed{9}, steps and <answer>9</answer>, or steps in <think> "
        "and a box behind them",
    )
    learning_rate: float = Field(3e-3, gt=0)
    batch_tokens: int = Field(2500, ge=256)
    clean_loss: float = Field(0.08, gt=0, description="the first phase ends when the running loss is below")
    max_clean_steps: int = Field(2000, ge=1, description="the first phase fails when it needs more")
    mixed_steps: int = Field(300, ge=0, description="updates on answers of mixed quality, in the second phase")
