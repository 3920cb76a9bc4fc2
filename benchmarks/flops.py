"""Floating-point operations: how many a model asks for, whoever computes them and however, and how many a device gives.

Shapes: H hidden size, V vocabulary, L tokens of a sequence.
"""

import torch
from transformers import Qwen2Config

from benchmarks.watch import Watch

BACKWARD = 2  # times the forward pass: one product with the gradient for each of the two factors
MATRIX_SIZES = {"cpu": 1024}
ACCELERATOR_MATRIX_SIZE = 8192
MATRIX_REPETITIONS = 20


def forward_flops(config: Qwen2Config, prompt_tokens: int, response_tokens: int) -> float:
    """Of one forward pass over a sequence that needs log-probabilities of its response.

    Two operations for each token and weight of a matrix product, and in attention 4 H for each token and each token
    that it sees. What a backward pass computes again is no work asked for, and not counted.

    Source: Chowdhery et al. 2022 (PaLM), appendix B, arXiv 2204.02311. Differences: attention is counted over the
    tokens up to each alone, half of theirs; the output embedding for tokens whose logits are needed; the input
    embedding, a table, not at all.
    """
    tokens = prompt_tokens + response_tokens
    keys = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    weights = 2 * config.hidden_size * (config.hidden_size + keys) + 3 * config.hidden_size * config.intermediate_size
    seen = tokens * (tokens + 1) / 2
    layers = config.num_hidden_layers * (2 * weights * tokens + 4 * config.hidden_size * seen)
    return layers + 2 * config.hidden_size * config.vocab_size * response_tokens


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large square matrix product, the best of MATRIX_REPETITIONS."""
    size = MATRIX_SIZES.get(device.type, ACCELERATOR_MATRIX_SIZE)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(MATRIX_REPETITIONS):
        watch = Watch(device)
        with watch("product"):
            left @ right
        best = min(best, watch.parts["product"].seconds)
    return 2 * size**3 / best
