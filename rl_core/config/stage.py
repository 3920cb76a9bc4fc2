"""One context stage."""

from typing import Any, Self

from pydantic import Field, model_validator

from rl_core.config.algorithm import AlgorithmConfig
from rl_core.config.models import OptimizerConfig
from rl_core.config.rollout import RolloutConfig
from rl_core.config.section import Section


def _or_null(schema: dict[str, Any]) -> None:
    """In the form of a deployment, a section that a stage takes over as a whole is null; see `form_values`."""
    section = {key: schema.pop(key) for key in ("$ref",) if key in schema}
    schema.update({"anyOf": [section, {"type": "null"}], "default": None})


class StageConfig(Section):
    """One context stage. `rollout`, `algorithm` and `optimizer` take what they leave out from the recipe's own."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    steps: int = Field(ge=1)
    max_prompt_tokens: int = Field(1024, ge=1, description="problems with longer prompts are set aside, and counted")
    max_response_tokens: int = Field(ge=1)
    max_total_tokens: int | None = Field(None, ge=2, description="bound on prompt and response; null: their sum")
    rollout: RolloutConfig = Field(
        default_factory=RolloutConfig, description="null: as the recipe's own", json_schema_extra=_or_null
    )
    algorithm: AlgorithmConfig = Field(
        default_factory=AlgorithmConfig, description="null: as the recipe's own", json_schema_extra=_or_null
    )
    optimizer: OptimizerConfig = Field(
        default_factory=OptimizerConfig, description="null: as the recipe's own", json_schema_extra=_or_null
    )

    @property
    def context_tokens(self) -> int:
        """Longest sequence of the stage: prompt and response together."""
        return self.max_total_tokens or self.max_prompt_tokens + self.max_response_tokens

    @property
    def shortest_limit_tokens(self) -> int:
        """What the longest prompt leaves to its response."""
        return min(self.max_response_tokens, self.context_tokens - self.max_prompt_tokens)

    @model_validator(mode="after")
    def _total_leaves_room_for_a_response(self) -> Self:
        if self.max_total_tokens is not None and self.max_total_tokens <= self.max_prompt_tokens:
            raise ValueError(
                f"max_total_tokens is {self.max_total_tokens}, which leaves no response to a prompt of "
                f"max_prompt_tokens ({self.max_prompt_tokens})"
            )
        return self

    @model_validator(mode="after")
    def _groups_have_something_to_compare(self) -> Self:
        algorithm, samples = self.algorithm, self.rollout.num_samples
        needed = 3 if algorithm.scale == "leave_one_out_std" else 2
        if algorithm.in_groups and samples < needed:
            why = (
                f"algorithm.baseline is {algorithm.baseline!r}, and nothing would be learned"
                if samples < 2
                else "algorithm.scale is 'leave_one_out_std', and one other response has no spread"
            )
            raise ValueError(
                f"rollout.num_samples is {samples}, but responses to one problem are compared with each other: {why}; "
                f"take at least {needed}, or another baseline or scale"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_divide_the_batch(self) -> Self:
        batch = self.rollout.num_prompts * self.rollout.num_samples
        if batch % self.algorithm.minibatch_sequences:
            raise ValueError(
                f"algorithm.minibatch_sequences is {self.algorithm.minibatch_sequences}, which does not divide "
                f"rollout.num_prompts x rollout.num_samples = {batch}"
            )
        samples, by_prompt = self.rollout.num_samples, self.algorithm.aggregation == "prompt_mean_token_mean"
        if by_prompt and self.algorithm.minibatch_sequences % samples:
            raise ValueError(
                "algorithm.aggregation is 'prompt_mean_token_mean', for which all responses to a prompt belong into "
                f"one update: algorithm.minibatch_sequences ({self.algorithm.minibatch_sequences}) must be a "
                f"multiple of rollout.num_samples ({samples})"
            )
        return self
