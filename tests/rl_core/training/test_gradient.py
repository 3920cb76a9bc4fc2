"""One update's loss and gradient against the formulas written out, however the batch is split."""

from typing import get_args

import pytest
import torch

from rl_core.config import AlgorithmConfig
from rl_core.config.algorithm import Aggregation
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.samples import informative_groups, rewards_of, samples_of
from rl_core.training.step import StepTrainer, Trained
from rl_core.world import World
from tests.rl_core.training.formulas import (
    TERMS,
    assert_gradient,
    logprobs_and_entropies,
    still_learner,
    written_out,
)
from tests.rl_core.training.tiny_training import (
    ALGORITHM,
    NUM_SAMPLES,
    REWARDS,
    SAMPLER_LOGPROB,
    TEMPERATURE,
    fixed_rollouts,
    policy,
    reference_of,
    step,
)

# Each sequence alone, some together, all together; in buckets and end to end.
LAYOUTS = [Layout(tokens, packed=packed) for tokens in (1, 50, 10_000) for packed in (False, True)]
# Every term of the loss once, every objective with every aggregation.
PAIRS = [(name, "token_mean") for name in TERMS] + [
    (name, aggregation)
    for name in ("clipped", "policy gradient", "gspo", "cispo", "cpgd")
    for aggregation in get_args(Aggregation)
    if aggregation != "token_mean"
]


@pytest.fixture(scope="module")
def learner(world: World) -> Learner:
    """Of learning rate zero: every step starts from the same weights."""
    return still_learner(world, 0)


@pytest.mark.parametrize(("terms", "aggregation"), PAIRS)
def test_the_gradient_is_that_of_the_formulas_however_the_batch_is_split(
    learner: Learner, world: World, terms: str, aggregation: str
) -> None:
    algorithm = AlgorithmConfig.model_validate(
        {"minibatch_sequences": len(REWARDS), "aggregation": aggregation, **TERMS[terms]}
    )
    reference = reference_of(world, 0) if algorithm.kl_coefficient else None
    expected_loss, expected = written_out(algorithm)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm().item()
    assert norm > 0
    for layout in LAYOUTS:
        loss, grad_norm = step(learner, fixed_rollouts(), algorithm=algorithm, reference=reference, layout=layout)
        assert loss == pytest.approx(expected_loss, rel=1e-4, abs=1e-6)
        assert grad_norm == pytest.approx(norm, rel=1e-4)
        assert_gradient(learner, expected)


def test_where_all_rewards_are_equal_nothing_is_learned(learner: Learner) -> None:
    loss, grad_norm = step(learner, fixed_rollouts()[NUM_SAMPLES : 2 * NUM_SAMPLES])
    assert (loss, grad_norm) == (0.0, 0.0)


def test_figures_are_means_over_the_tokens_that_are_trained_on(learner: Learner, world: World) -> None:
    rollouts = fixed_rollouts()
    trainer = StepTrainer(learner, None, ALGORITHM, num_samples=NUM_SAMPLES, temperature=TEMPERATURE, layout=Layout(64))
    samples = samples_of(rollouts, NUM_SAMPLES, ALGORITHM)
    assert informative_groups(rewards_of(rollouts), NUM_SAMPLES).tolist() == [True, False, True]
    figures = Figures()
    trainer.train_policy(trainer.prepared(samples, figures), figures)
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
    trainer = StepTrainer(learner, None, ALGORITHM, num_samples=NUM_SAMPLES, temperature=TEMPERATURE, layout=Layout(64))
    figures = Figures()
    samples = samples_of(fixed_rollouts()[NUM_SAMPLES : 2 * NUM_SAMPLES], NUM_SAMPLES, ALGORITHM)
    assert trainer.train_policy(trainer.prepared(samples, figures), figures) == Trained(0.0, 0.0, 0)
    means = figures.over_ranks(world)
    assert {name for name, mean in means.items() if mean is not None} == {"padding_fraction"}


def test_each_pass_is_one_update_for_each_minibatch(learner: Learner) -> None:
    def updates_made() -> int:
        return int(next(iter(learner.adamw.state.values()))["step"])

    before = updates_made()
    step(learner, fixed_rollouts(), algorithm=AlgorithmConfig(minibatch_sequences=4, epochs=3))
    assert updates_made() == before + 9
