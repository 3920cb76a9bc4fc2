"""The pairwise loss: values worked out by hand, its gradient by finite differences, and TRL's own definition."""

import math
from collections import defaultdict
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from rl_core.preference.loss import centering_loss, pairwise_loss

ROUNDING = 1e-12
STEP = 1e-6  # of finite differences in float64
BY_DIFFERENCES = 1e-8

CHOSEN = torch.tensor([0.0, 1.0, -2.0, 30.0], dtype=torch.float64)
REJECTED = torch.tensor([0.0, 0.0, 1.0, -800.0], dtype=torch.float64)


def test_the_loss_is_the_negative_log_likelihood_that_the_chosen_response_wins() -> None:
    # log 2; log(1 + 1/e); log(1 + e^3); nothing, and no overflow.
    expected = [math.log(2), math.log1p(math.exp(-1)), math.log1p(math.exp(3)), 0.0]
    assert pairwise_loss(CHOSEN, REJECTED).tolist() == pytest.approx(expected, abs=ROUNDING)
    assert pairwise_loss(REJECTED, CHOSEN).tolist()[3] == pytest.approx(830.0)


def test_only_differences_count_and_the_centering_loss_alone_sees_their_level() -> None:
    shifted = pairwise_loss(CHOSEN + 5, REJECTED + 5)
    torch.testing.assert_close(shifted, pairwise_loss(CHOSEN, REJECTED))
    assert centering_loss(CHOSEN, REJECTED).tolist() == [0.0, 1.0, 1.0, 770.0**2]


@pytest.mark.parametrize("loss", [pairwise_loss, centering_loss])
def test_the_gradient_is_that_of_finite_differences(loss: object) -> None:
    scores = [CHOSEN[:3].clone().requires_grad_(), REJECTED[:3].clone().requires_grad_()]
    assert callable(loss)
    loss(*scores).sum().backward()
    for side in range(2):
        moved = [[s.detach() + sign * STEP * (place == side) for place, s in enumerate(scores)] for sign in (1, -1)]
        differences = (loss(*moved[0]) - loss(*moved[1])) / (2 * STEP)
        assert scores[side].grad is not None
        torch.testing.assert_close(scores[side].grad, differences, atol=BY_DIFFERENCES, rtol=BY_DIFFERENCES)


@pytest.mark.parametrize("coefficient", [None, 0.25])
def test_the_mean_over_pairs_is_the_loss_that_trl_takes(
    coefficient: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trl", reason="compares with TRL, which is not installed here")
    # TRL would import vLLM where it finds it: many seconds, for nothing that is used here.
    monkeypatch.setattr(import_module("trl.import_utils"), "is_vllm_available", lambda *_, **__: False)
    from trl.trainer.reward_trainer import RewardTrainer

    logits = torch.cat([CHOSEN[:3], REJECTED[:3]]).unsqueeze(-1)
    itself = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=coefficient),
        accelerator=SimpleNamespace(gather=lambda value: value, gather_for_metrics=lambda value: value),
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
    )
    theirs = RewardTrainer.compute_loss(itself, lambda **_: SimpleNamespace(logits=logits), {})
    ours = pairwise_loss(CHOSEN[:3], REJECTED[:3]) + (coefficient or 0) * centering_loss(CHOSEN[:3], REJECTED[:3])
    torch.testing.assert_close(ours.mean(), theirs, atol=ROUNDING, rtol=ROUNDING)
