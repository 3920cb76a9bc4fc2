"""The learning rate of supervised trainings, against transformers' own schedule."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from rl_core.config.models import CosineConfig
from rl_core.training.schedule import cosine_rate


@pytest.mark.parametrize(("steps", "fraction", "warmup"), [(20, 0.1, 2), (7, 0.3, 3), (5, 0.0, 0), (1, 0.5, 1)])
def test_it_is_the_cosine_schedule_of_transformers(steps: int, fraction: float, warmup: int) -> None:
    config = CosineConfig(learning_rate=3e-4, warmup_fraction=fraction)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert [cosine_rate(config, step, steps) for step in range(1, steps + 1)] == pytest.approx(rates)


def test_it_ends_near_the_final_factor_and_never_below() -> None:
    config = CosineConfig(learning_rate=1.0, warmup_fraction=0.0, final_factor=0.2)
    rates = [cosine_rate(config, step, 1000) for step in range(1, 1001)]
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert 0.2 <= rates[-1] < 0.201
