"""The loss of supervised fine-tuning: the mean negative log-likelihood of response tokens over a whole update."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from rl_core.training.batching import MicroBatch, Sample


def weighted_alike(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with a weight for each response token: one over all of theirs, over every rank and micro-batch."""
    num_tokens = sum(len(sample.response_ids) for sample in samples)
    return [replace(sample, weight=1.0 / num_tokens) for sample in samples]


def negative_log_likelihood(batch: MicroBatch, logprobs: torch.Tensor) -> torch.Tensor:
    """This micro-batch's part of the mean over tokens, a scalar; prompts are in no part of it.

    Args:
        logprobs: [N], of the response tokens, the one that ends each response included.
    """
    return -(logprobs * batch.weights).sum()
