"""One update's loss and gradient against the formulas written out, however the batch is split."""

import math
from typing import Any

import pytest
import torch

from rl_core.config.sections import AlgorithmConfig, CorrectionConfig, OptimizerConfig
from rl_core.rollout.collect import Rollout
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.step import StepTrainer
from rl_core.world import World
from tests.rl_core.training.tiny_training import (
    ALGORITHM,
    NUM_SAMPLES,
    REWARDS,
    SAMPLER_LOGPROB,
    TEMPERATURE,
    first_policy,
    fixed_rollouts,
    new_learner,
    policy,
    reference_of,
    step,
)

ROUNDING = {"rtol": 2e-4, "atol": 2e-6}  # of float32, over some hundred tokens in another order
# Each sequence alone, some together, all together; in buckets and end to end.
LAYOUTS = [Layout(tokens, packed=packed) for tokens in (1, 50, 10_000) for packed in (False, True)]
# With this, AdamW's first moment is the gradient itself, unclipped.
PLAIN = OptimizerConfig(learning_rate=1.0, betas=(0.0, 0.999), max_grad_norm=1e9, weight_decay=0.0)


@pytest.fixture(scope="module")
def learner(world: World) -> Learner:
    """Of learning rate zero: every step starts from the same weights."""
    fresh = new_learner(world, 0, optimizer=PLAIN)
    fresh.set_learning_rate(0.0)
    return fresh


def logprobs_and_entropies(model: torch.nn.Module, rollout: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one response, from transformers' own logits."""
    prompt, response = rollout.problem.prompt_ids, rollout.completion.token_ids
    logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    logprobs = (logits / TEMPERATURE).log_softmax(-1)
    return logprobs.gather(-1, torch.tensor(response)[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1)


def correction_factor(correction: CorrectionConfig, difference: torch.Tensor) -> torch.Tensor:
    """What multiplies one response's surrogate, where `difference` is old minus sampler log-probability: [T]."""
    ratios = {
        "token": difference.exp(),
        "sequence": difference.sum().exp().expand_as(difference),
        "sequence_geometric_mean": difference.mean().exp().expand_as(difference),
    }
    factor = torch.ones_like(difference)
    if correction.weight is not None:
        factor = ratios[correction.weight].clamp(max=correction.max_weight or math.inf)
    if correction.mask is not None:
        low, high = correction.mask_low or 0.0, correction.mask_high or math.inf
        factor = torch.where((ratios[correction.mask] >= low) & (ratios[correction.mask] <= high), factor, 0.0)
    return factor


def surrogate(algorithm: AlgorithmConfig, logprobs: torch.Tensor, advantage: float) -> torch.Tensor:
    """What one response's tokens contribute, negated: [T]."""
    sampler = torch.full_like(logprobs, SAMPLER_LOGPROB)
    old = sampler if algorithm.old_logprobs == "sampler" else logprobs.detach()
    ratio = (logprobs - old).exp()
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - algorithm.clip_low, 1 + algorithm.clip_high) * advantage)
    if algorithm.dual_clip is not None and advantage < 0:
        gain = gain.clamp(min=algorithm.dual_clip * advantage)
    return -gain * correction_factor(algorithm.correction, old - sampler)


def written_out(algorithm: AlgorithmConfig) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradient of the first update, from the policy itself."""
    model, reference, rollouts = policy(), first_policy(), fixed_rollouts()
    num_tokens = sum(len(rollout.completion.token_ids) for rollout in rollouts)
    loss = torch.zeros(())
    for index, rollout in enumerate(rollouts):
        group = REWARDS[index // NUM_SAMPLES * NUM_SAMPLES :][:NUM_SAMPLES]
        scored = torch.tensor([reward for reward in group if reward is not None])
        advantage = 0.0
        if rollout.score.reward is not None and float(scored.std()) > 0:
            advantage = float((rollout.score.reward - scored.mean()) / scored.std())
        logprobs, entropies = logprobs_and_entropies(model, rollout)
        with torch.no_grad():
            ref_logprobs, _ = logprobs_and_entropies(reference, rollout)
        difference = ref_logprobs - logprobs
        tokens = surrogate(algorithm, logprobs, advantage)
        tokens = tokens + algorithm.kl_coefficient * (difference.exp() - difference - 1)
        tokens = tokens - algorithm.entropy_coefficient * entropies
        if algorithm.aggregation == "token_mean":
            loss = loss + tokens.sum() / num_tokens
        else:
            loss = loss + tokens.mean() / len(rollouts)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


# The bounds are such that some tokens, or responses, lie on either side of each.
TERMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "kl": {"kl_coefficient": 0.1},
    "entropy": {"entropy_coefficient": 0.05},
    "kl and entropy": {"kl_coefficient": 0.1, "entropy_coefficient": 0.05},
    "clipped": {"old_logprobs": "sampler"},
    "dual clip": {"old_logprobs": "sampler", "dual_clip": 3.0},
    "token weight": {"correction": {"weight": "token"}},
    "TIS": {"correction": {"weight": "token", "max_weight": 2.0}},
    "IcePop": {"correction": {"weight": "token", "mask": "token", "mask_low": 0.5, "mask_high": 5.0}},
    "seq-TIS": {"correction": {"weight": "sequence", "max_weight": 2.0}},
    "seq-MIS": {"correction": {"weight": "sequence", "mask": "sequence", "mask_high": 2.0}},
    "geo-mask": {"correction": {"mask": "sequence_geometric_mean", "mask_low": 0.99, "mask_high": 2.0}},
    "seq-mask-tis with kl and entropy": {
        "correction": {"weight": "token", "mask": "sequence_geometric_mean", "mask_high": 2.0},
        "kl_coefficient": 0.1,
        "entropy_coefficient": 0.05,
    },
}


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean_token_mean"])
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_the_gradient_is_that_of_the_formulas_however_the_batch_is_split(
    learner: Learner, world: World, aggregation: str, terms: dict[str, Any]
) -> None:
    algorithm = AlgorithmConfig.model_validate(
        {"minibatch_sequences": len(REWARDS), "aggregation": aggregation, **terms}
    )
    reference = reference_of(world, 0) if algorithm.kl_coefficient else None
    expected_loss, expected = written_out(algorithm)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm().item()
    assert norm > 0
    for layout in LAYOUTS:
        loss, grad_norm = step(learner, fixed_rollouts(), algorithm=algorithm, reference=reference, layout=layout)
        assert loss == pytest.approx(expected_loss, rel=1e-4, abs=1e-6)
        assert grad_norm == pytest.approx(norm, rel=1e-4)
        got = {name: learner.adamw.state[parameter]["exp_avg"] for name, parameter in learner.named_parameters()}
        assert got.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(got[name], gradient, **ROUNDING, msg=lambda text, name=name: f"{name}: {text}")


def test_where_all_rewards_are_equal_nothing_is_learned(learner: Learner) -> None:
    loss, grad_norm = step(learner, fixed_rollouts()[NUM_SAMPLES : 2 * NUM_SAMPLES])
    assert (loss, grad_norm) == (0.0, 0.0)


def test_figures_are_means_over_the_tokens_that_are_trained_on(learner: Learner, world: World) -> None:
    rollouts = fixed_rollouts()
    trainer = StepTrainer(learner, None, ALGORITHM, temperature=TEMPERATURE, layout=Layout(64))
    samples, no_advantage = trainer.samples(rollouts, NUM_SAMPLES)
    assert no_advantage == 1 / 3
    figures = Figures()
    trainer.train(trainer.with_fixed_logprobs(trainer.updates(samples), figures), figures)
    trained = [rollout for rollout, sample in zip(rollouts, samples, strict=True) if sample.advantage != 0]
    assert len(trained) == 7
    with torch.no_grad():
        pairs = [logprobs_and_entropies(policy(), rollout) for rollout in trained]
    logprobs, entropies = (torch.cat(values) for values in zip(*pairs, strict=True))
    difference = logprobs - SAMPLER_LOGPROB
    expected = {
        "entropy_mean": float(entropies.mean()),
        "sampler_logprob_error_mean": float(difference.abs().exp().mean()),
        "sampler_logprob_error_max": float(difference.abs().exp().max()),
        "sampler_kl": float((difference.exp() - difference - 1).mean()),
    }
    means = figures.over_ranks(world)
    assert {name: means[name] for name in expected} == pytest.approx(expected, rel=1e-3)
    assert means["clip_fraction"] == 0
    assert means["kl_old_mean"] == pytest.approx(0, abs=1e-6)
    assert means["kl_ref_mean"] is None


def test_where_nothing_is_trained_on_there_are_no_figures(learner: Learner, world: World) -> None:
    trainer = StepTrainer(learner, None, ALGORITHM, temperature=TEMPERATURE, layout=Layout(64))
    figures = Figures()
    samples, no_advantage = trainer.samples(fixed_rollouts()[NUM_SAMPLES : 2 * NUM_SAMPLES], NUM_SAMPLES)
    assert trainer.train(trainer.with_fixed_logprobs(trainer.updates(samples), figures), figures) == (0.0, 0.0)
    assert no_advantage == 1.0
    means = figures.over_ranks(world)
    assert {name for name, mean in means.items() if mean is not None} == {"padding_fraction"}


def test_each_pass_is_one_update_for_each_minibatch(learner: Learner) -> None:
    def updates_made() -> int:
        return int(next(iter(learner.adamw.state.values()))["step"])

    before = updates_made()
    step(learner, fixed_rollouts(), algorithm=AlgorithmConfig(minibatch_sequences=4, epochs=3))
    assert updates_made() == before + 9
