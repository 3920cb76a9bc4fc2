"""DAPO's soft penalty for responses that come near the limit on tokens.

Source: Yu et al. 2025, "DAPO", equation 13, arXiv:2503.14476.
"""

from collections.abc import Sequence

from rl_core.config.rewards import OVERLONG_BUFFER_TOKENS
from rl_core.rewards.sample import Sample


def overlong_penalty(
    samples: Sequence[Sample], *, buffer_tokens: int = OVERLONG_BUFFER_TOKENS, factor: float = 1.0
) -> list[float | None]:
    """0 up to the buffer, then falling linearly to -factor at the limit: min(0, factor (limit - buffer - n) / buffer).

    Args:
        buffer_tokens: tokens before the limit in which the penalty grows; at most the limit.

    Raises:
        ValueError: the tokens of a response were not counted, or the buffer is not within the limit.
    """
    return [_penalty(sample, buffer_tokens, factor) for sample in samples]


def _penalty(sample: Sample, buffer_tokens: int, factor: float) -> float:
    if sample.num_tokens is None or sample.max_tokens is None:
        raise ValueError("overlong_penalty needs the tokens of every response and their limit")
    if not 0 < buffer_tokens <= sample.max_tokens:
        raise ValueError(
            f"overlong_penalty: buffer_tokens is {buffer_tokens}, but must be at least 1 and at most the limit of a "
            f"response, here {sample.max_tokens}"
        )
    return min(0.0, factor * (sample.max_tokens - buffer_tokens - sample.num_tokens) / buffer_tokens)
