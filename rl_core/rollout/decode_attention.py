"""Attention of each row's newest token over the rows' caches, for transformers models.

Where several query heads share one key head, transformers repeats the keys and values for each of them, which copies
the whole cache for every token. Here the query heads that share a key head are the rows of one small matrix instead.

Shape letters: B rows, Q query heads, K key heads, T tokens, D head size.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

NAME = "rl_core_decode"  # among transformers' attention implementations


def use_decode_attention(model: PreTrainedModel) -> None:
    """Let a model that computes with torch's scaled dot product attention decode without copying its cache."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


def decode_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers' sdpa attention gives; called by the model's layers.

    Args:
        query: [B, Q, T', D], T' new tokens; only one new token goes the short way.
        key, value: [B, K, T, D], all tokens so far.
        attention_mask: [B, 1, T', T] bool, True where a token is seen; None: every token is.

    Returns:
        [B, T', Q, D], and no attention weights.
    """
    rows, query_heads, new_tokens, size = query.shape
    if new_tokens > 1 or options.get("position_bias") is not None:
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return result
    scale = size**-0.5 if scaling is None else scaling
    grouped = query.reshape(rows, key.shape[1], query_heads // key.shape[1], size)
    scores = (grouped * scale) @ key.mT  # [B, K, Q / K, T]
    if attention_mask is not None:
        scores.masked_fill_(attention_mask.logical_not(), -torch.inf)
    output = scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return output.reshape(rows, 1, query_heads, value.shape[-1]), None


def decode_mask(
    q_length: int, attention_mask: torch.Tensor | None, mask_function: Callable[..., Any], **options: Any
) -> torch.Tensor | None:
    """The mask for `decode_attention`: under causal attention the newest token sees all that is not padding.

    Args:
        attention_mask: [B, T] bool, True where there is a token; None: everywhere.
        mask_function: transformers' description of the attention; other than causal where a layer sees a window.
    """
    if q_length == 1 and mask_function is causal_mask_function:
        return None if attention_mask is None else attention_mask[:, None, None, :]
    mask: torch.Tensor | None = sdpa_mask(
        q_length=q_length, attention_mask=attention_mask, mask_function=mask_function, **options
    )
    return mask


AttentionInterface.register(NAME, decode_attention)
AttentionMaskInterface.register(NAME, decode_mask)
