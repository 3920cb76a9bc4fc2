"""The values that pass between rollouts, rewards and training. Plain data: no tensors, no torch.

Shape letters used across the project: P prompts of a step, G responses per prompt, B = P*G sequences, T tokens,
V vocabulary.
"""

from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length"]
Message = dict[str, str]  # of a chat: role and content


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of a parquet file, with its prompt already tokenized by the policy's chat template."""

    index: int  # row in the parquet file
    problem: str
    answer: str
    prompt_ids: tuple[int, ...]
    messages: tuple[Message, ...] = ()  # the prompt before it was tokenized, for rewards that read it


@dataclass(frozen=True, slots=True)
class Request:
    """One response to be sampled."""

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    seed: int  # of this response alone: the same seed repeats it


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled response."""

    token_ids: list[int]  # [T], the end-of-sequence token included when the model wrote it
    logprobs: list[float]  # [T], natural log, of the distribution that was sampled from
    finish_reason: FinishReason  # "length": cut off by max_new_tokens
    policy_version: int
    start_seconds: float = 0.0  # when its first token was computed, after the call that asked for it
    end_seconds: float = 0.0  # when its last one was


@dataclass(frozen=True, slots=True)
class Score:
    """What the rewards say of one response."""

    reward: float | None  # the weighted sum; None: unscored, never counted as zero
    breakdown: dict[str, float | None] = field(default_factory=dict)  # by reward name
    extracted: str | None = None  # the answer that was found; None: no answer
