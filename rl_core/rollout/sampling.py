"""From logits to tokens: inverse-transform sampling with one stream of uniform numbers for each response.

A response's randomness is its own: it does not depend on which other responses share its batch.
"""

from collections.abc import Sequence

import numpy as np
import torch

from rl_core.rollout.engine import Sampling

BLOCK_TOKENS = 128  # uniform numbers drawn at a time for each response


class UniformStreams:
    """One stream of uniform numbers in [0, 1) for each seed; any number of it without those before.

    Number i of seed s is the top 53 bits of m(m(s) + i g), with the mixing function m and the odd constant g of
    SplitMix64: a few operations for all streams at once, where a generator for each costs more than the sampling.
    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (OOPSLA); m and g are those of
    Java's SplittableRandom. Unlike there, the seed is mixed too: neighbouring seeds shall not share numbers.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        """Args:
        seeds: 0..2**64-1 each.
        """
        self._starts = _mixed(np.array(seeds, dtype=np.uint64))
        self._device = device
        self._first = -BLOCK_TOKENS  # index of the first numbers in the block
        self._block = torch.empty(0)

    def at(self, index: int) -> torch.Tensor:
        """Number `index` of every stream: [number of seeds] float64."""
        if not self._first <= index < self._first + BLOCK_TOKENS:
            self._first = index - index % BLOCK_TOKENS
            counters = np.arange(self._first + 1, self._first + 1 + BLOCK_TOKENS, dtype=np.uint64)[:, None]
            bits = _mixed(self._starts + counters * GAMMA)
            self._block = torch.from_numpy((bits >> np.uint64(11)) * 2.0**-53).to(self._device)
        return self._block[index - self._first]


GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mixed(words: np.ndarray) -> np.ndarray:
    """SplitMix64's mixing function: every bit of the result depends on every bit of the word, both uint64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def sample(logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One token for each row, and its log-probability under the distribution it was drawn from.

    Args:
        logits: [B, V] float.
        uniforms: [B] float64 in [0, 1).

    Returns:
        tokens [B] long, log-probabilities [B] float32 (natural log). At temperature 0 the likeliest token, and its
        log-probability at temperature 1.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        best = logits.log_softmax(-1).max(-1)
        return best.indices, best.values
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if sampling.top_p < 1:
        logits = _nucleus(logits.log_softmax(-1), sampling.top_p)
    shifted = logits - logits.amax(-1, keepdim=True)
    cumulative = shifted.exp().cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1]
    tokens = torch.searchsorted(cumulative, (uniforms * total).unsqueeze(-1), right=True)
    tokens.clamp_(max=logits.shape[-1] - 1)
    return tokens.squeeze(-1), shifted.gather(-1, tokens).squeeze(-1) - total.log().float()


def _nucleus(logprobs: torch.Tensor, top_p: float) -> torch.Tensor:
    """Log-probabilities of the nucleus, not renormalised, -inf outside it (Holtzman et al. 2020, arXiv 1904.09751)."""
    ordered, order = logprobs.sort(-1, descending=True)
    mass_before = ordered.exp().cumsum(-1) - ordered.exp()
    outside = torch.zeros_like(logprobs, dtype=torch.bool).scatter(-1, order, mass_before >= top_p)
    return logprobs.masked_fill(outside, -torch.inf)
