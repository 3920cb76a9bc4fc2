"""What is measured, while training and of finished models."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rl_core.config.section import Section


class ValidationConfig(Section):
    """What is measured during training, at the stage's own response limit: held-out problems and the probe."""

    every_steps: int = Field(10, ge=1, description="besides before the first step and after the last")
    num_problems: int | None = Field(None, ge=1, description="null: all of them")
    num_samples: int = Field(4, ge=1)
    temperature: float = Field(0.6, ge=0)


class ProtocolConfig(Section):
    """How a model is asked and marked; its digest names the evaluation."""

    num_samples: int = Field(16, ge=1)
    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(32768, ge=1)
    seed: int = 0
    verifier: Literal["boxed", "deepscaler", "math_verify"] = "boxed"

    @model_validator(mode="after")
    def _greedy_gives_one_answer(self) -> Self:
        if self.temperature == 0 and self.num_samples > 1:
            raise ValueError("temperature 0 gives one answer: num_samples must be 1, or temperature above 0")
        return self


class EvaluationConfig(Section):
    """The evaluation of the base model and of every stage, under one protocol."""

    benchmark: str = Field("test", description="a parquet in the run's data folder, without its suffix")
    protocol: ProtocolConfig = Field(default_factory=ProtocolConfig)
    max_concurrent_sequences: int = Field(256, ge=1)
