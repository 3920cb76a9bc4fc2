"""How the losses of tokens become the loss of an update: what one token of each response weighs.

Shapes: B responses, `lengths` [B] response tokens of each.
"""

from typing import Literal

import torch

Aggregation = Literal[
    "token_mean",
    "sequence_mean_token_mean",
    "sequence_mean_token_sum",
    "sequence_mean_token_sum_norm",
    "prompt_mean_token_mean",
]


def token_weights(
    lengths: torch.Tensor,
    aggregation: Aggregation,
    *,
    num_tokens: float,
    num_sequences: float,
    normalizer_tokens: float | None = None,
    prompt_tokens: torch.Tensor | None = None,
    num_prompts: float | None = None,
) -> torch.Tensor:
    """What one token of each response weighs in the loss, so that a batch's loss is the weighted sum of its tokens'.

    token_mean: 1 / num_tokens, every token alike (DAPO, arXiv 2503.14476, section 3.3).
    sequence_mean_token_mean: 1 / (num_sequences * length), every response alike (GRPO, arXiv 2402.03300, equation 3).
    sequence_mean_token_sum: 1 / num_sequences, a response counts by its length.
    sequence_mean_token_sum_norm: 1 / (num_sequences * normalizer_tokens), the same over a constant (Dr. GRPO,
    arXiv 2503.20783, where it is the limit on response tokens).
    prompt_mean_token_mean: 1 / (num_prompts * prompt_tokens), every prompt alike, and within a prompt every token
    (CPGD, arXiv 2505.12504, section 4).

    The denominators are of the whole optimizer update, over all ranks and micro-batches, so that how a batch is split
    never changes the gradient.

    Args:
        lengths: [B] response tokens of each response, at least 1.
        num_tokens: response tokens of the update.
        num_sequences: responses of the update.
        normalizer_tokens: the constant; needed by sequence_mean_token_sum_norm alone.
        prompt_tokens: [B], for each response the tokens of all responses of the update to its prompt; needed, as is
            num_prompts, by prompt_mean_token_mean alone.
        num_prompts: prompts of the update.

    Returns:
        [B] float32.
    """
    ones = torch.ones(lengths.shape, device=lengths.device)
    if aggregation == "token_mean":
        return ones / num_tokens
    if aggregation == "sequence_mean_token_mean":
        return ones / (num_sequences * lengths.float())
    if aggregation == "sequence_mean_token_sum":
        return ones / num_sequences
    if aggregation == "sequence_mean_token_sum_norm":
        assert normalizer_tokens is not None, "sequence_mean_token_sum_norm needs the constant that it divides by"
        return ones / (num_sequences * normalizer_tokens)
    assert prompt_tokens is not None, "prompt_mean_token_mean needs the tokens of each response's prompt"
    assert num_prompts is not None, "prompt_mean_token_mean needs the number of prompts"
    return ones / (num_prompts * prompt_tokens.float())
