"""Figures over tokens: means, maxima, and where there are none."""

import math

import torch

from rl_core.training.figures import Figures
from rl_core.world import World

ALL = torch.tensor([True, True])


def test_only_tokens_that_are_trained_on_are_counted(world: World) -> None:
    figures = Figures()
    for values, mask in (([1.0, 9.0], [True, False]), ([2.0, 6.0], [True, True]), ([99.0, 99.0], [False, False])):
        figures.count("sampler_kl", torch.tensor(values), torch.tensor(mask))
        figures.count_maximum("sampler_logprob_error_max", torch.tensor(values), torch.tensor(mask))
    over_ranks = figures.over_ranks(world)
    assert over_ranks["sampler_kl"] == 3.0
    assert over_ranks["sampler_logprob_error_max"] == 6.0
    assert over_ranks["entropy_mean"] is None


def test_a_maximum_over_what_is_not_a_number_is_none_either(world: World) -> None:
    for batches in (([math.nan, 1.0], [2.0, 3.0]), ([2.0, 3.0], [math.nan, 1.0])):
        figures = Figures()
        for values in batches:
            figures.count_maximum("sampler_logprob_error_max", torch.tensor(values), ALL)
        maximum = figures.over_ranks(world)["sampler_logprob_error_max"]
        assert maximum is not None
        assert math.isnan(maximum)


def test_the_order_of_counting_does_not_show_in_a_mean(world: World) -> None:
    parts = [torch.tensor([value, value]) for value in (1e8, 1e-8, -1e8, 0.1, 1 / 3)]
    means = set()
    for order in (parts, parts[::-1]):
        figures = Figures()
        for values in order:
            figures.count("sampler_kl", values, ALL)
        means.add(figures.over_ranks(world)["sampler_kl"])
    assert len(means) == 1
