"""Preference pairs, sampled from the policy that the first stage starts with."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rl_core.config.section import Section


class PairsConfig(Section):
    """The stage `pairs`: for which problems, how responses are sampled, and which of them become a pair."""

    first_row: int = Field(5000, ge=0, description="of data.train as it is read: the first of the pairs' own problems")
    num_rows: int = Field(10_000, ge=1, description="so many rows make pairs and are not trained on otherwise")
    num_samples: int = Field(4, ge=2, description="responses per problem")
    temperature: float = Field(0.8, gt=0)
    top_p: float = Field(0.9, gt=0, le=1)
    max_new_tokens: int = Field(1024, ge=1)
    verifier: Literal["boxed", "deepscaler", "math_verify"] = "math_verify"
    pairs_per_problem: int = Field(1, ge=1, description="at most, each of other responses")
    solution_as_chosen: bool = Field(
        True, description="where no response is right, the dataset's solution is the chosen one; false: no pair"
    )
    match_lengths: bool = Field(
        True, description="of a problem's responses those are paired whose lengths are closest; false: any of them"
    )
    max_length_ratio: float | None = Field(
        None, ge=1, description="pairs of lengths that differ by more than this factor are left out; null: none is"
    )
    held_out_fraction: float = Field(0.1, gt=0, lt=1, description="share of the problems whose pairs only measure")

    @model_validator(mode="after")
    def _pairs_can_be_had(self) -> Self:
        most = self.num_samples // 2
        if self.pairs_per_problem > most:
            raise ValueError(
                f"pairs_per_problem is {self.pairs_per_problem}, but num_samples is {self.num_samples}, and no "
                f"response is in two pairs: {most} at most, or more samples"
            )
        return self
