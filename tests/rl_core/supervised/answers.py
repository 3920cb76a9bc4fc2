"""Answers of many lengths, and one update on them: what the tests of fine-tuning have in common."""

from collections.abc import Sequence

import torch

from rl_core.supervised.loss import negative_log_likelihood, weighted_alike
from rl_core.training.batching import Sample, micro_batches
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.trained_module import Update
from tests.rl_core.training.tiny_training import VOCABULARY

LENGTHS = ((3, 9), (7, 1), (2, 20), (5, 4), (4, 13), (9, 8))  # of prompts and responses


def answers(seed: int = 0) -> list[Sample]:
    draw = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, VOCABULARY, (count,), generator=draw).tolist())

    return [Sample(tokens(prompt), tokens(response), (), 0.0) for prompt, response in LENGTHS]


ANSWERS = answers()


def update(learner: Learner, samples: Sequence[Sample], layout: Layout) -> Update:
    """One optimizer update on these answers, at likelihood as it is."""
    world = learner.world
    batches = micro_batches(weighted_alike(samples), layout, rank=world.rank, num_ranks=world.size, device=world.device)
    return learner.update(batches, 1.0, lambda batch, logprobs, _: negative_log_likelihood(batch, logprobs))
