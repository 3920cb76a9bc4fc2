"""Which passes a step makes, and that leaving one out changes no bit of what comes out."""

import math
from dataclasses import replace

import pytest
import torch

from rl_core.algorithms.divergences import kl
from rl_core.algorithms.objectives import clipped_surrogate
from rl_core.config import AlgorithmConfig
from rl_core.errors import GuardStop
from rl_core.rollout.collect import Rollout
from rl_core.rollout.engine import Sampling
from rl_core.rollout.transformers_engine import TransformersEngine
from rl_core.training.batching import MicroBatch
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.training.trained_module import Update
from rl_core.types import Request
from rl_core.world import World
from tests.rl_core.training.tiny_training import (
    NUM_SAMPLES,
    TEMPERATURE,
    fixed_rollouts,
    new_learner,
    policy,
    reference_of,
    step,
)

ALGORITHMS = {
    "plain": AlgorithmConfig(minibatch_sequences=4, epochs=2),
    "one update": AlgorithmConfig(minibatch_sequences=12),
    "divergence": AlgorithmConfig(minibatch_sequences=4, epochs=2, kl_coefficient=0.1),
    "sampler": AlgorithmConfig(minibatch_sequences=4, epochs=2, old_logprobs="sampler"),
}
ROUNDING = 1e-4  # of float32, over three updates
SPLITS = (1, 64, 10_000)  # each response alone, some together, all together


class Passes:
    """A learner's own forward passes, counted."""

    def __init__(self, learner: Learner) -> None:
        self.tokens = {"alone": 0, "trained": 0}  # response tokens: without backward, with
        learner.engine.module.register_forward_hook(self._count)

    def _count(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        self.tokens["trained" if torch.is_grad_enabled() else "alone"] += int(inputs[1].sum())


def trainer_of(learner: Learner, algorithm: AlgorithmConfig, micro_batch_tokens: int = 64) -> StepTrainer:
    reference = reference_of(learner.world, 0) if algorithm.kl_coefficient else None
    return StepTrainer(
        learner,
        reference,
        algorithm,
        num_samples=NUM_SAMPLES,
        temperature=TEMPERATURE,
        layout=Layout(micro_batch_tokens),
    )


def plain_step(
    learner: Learner, algorithm: AlgorithmConfig, micro_batch_tokens: int
) -> tuple[list[Update], dict[str, float]]:
    """The step written out, with an old-policy pass over every response; its updates, and its means over tokens."""
    trainer = trainer_of(learner, algorithm, micro_batch_tokens)
    updates = trainer.updates(samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm))
    reference = reference_of(learner.world, 0) if algorithm.kl_coefficient else None
    terms: dict[str, list[torch.Tensor]] = {}

    def add(batch: MicroBatch, **values: torch.Tensor) -> None:
        for name, value in values.items():
            terms.setdefault(name, []).append(value.detach().double()[batch.weights > 0])

    sampler = algorithm.old_logprobs == "sampler"
    with_old: list[list[MicroBatch]] = []
    for position, batches in enumerate(updates):
        ref = reference.logprobs(batches, TEMPERATURE) if reference else [None] * len(batches)
        old, entropies = learner.logprobs(batches, TEMPERATURE)
        with_old.append([])
        for batch, logprobs, entropy, ref_logprobs in zip(batches, old, entropies, ref, strict=True):
            fixed = batch.sampler_logprobs if sampler else logprobs
            with_old[-1].append(replace(batch, old_logprobs=fixed, ref_logprobs=ref_logprobs))
            if position == 0 or not sampler:
                difference = (logprobs - batch.sampler_logprobs).double()
                add(batch, entropy_mean=entropy, sampler_logprob_error_mean=difference.abs().exp())
                add(batch, sampler_kl=difference.expm1() - difference)

    def token_loss(batch: MicroBatch, logprobs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        assert batch.old_logprobs is not None
        loss, clipped = clipped_surrogate(
            logprobs, batch.old_logprobs, batch.advantages, clip_low=algorithm.clip_low, clip_high=algorithm.clip_high
        )
        add(batch, clip_fraction=clipped, kl_old_mean=kl(logprobs, batch.old_logprobs, "k3"))
        if batch.ref_logprobs is not None:
            add(batch, kl_ref_mean=kl(logprobs, batch.ref_logprobs, "k3"))
            loss = loss + algorithm.kl_coefficient * kl(logprobs, batch.ref_logprobs, "k3")
        return (loss * batch.weights).sum()

    done = [learner.update(batches, TEMPERATURE, token_loss) for batches in with_old * algorithm.epochs]
    return done, {
        name: math.fsum(float(v.sum()) for v in values) / sum(len(v) for v in values) for name, values in terms.items()
    }


@pytest.mark.parametrize("micro_batch_tokens", SPLITS)
@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_leaving_out_the_old_policy_pass_of_the_first_update_changes_no_bit(
    world: World, algorithm: AlgorithmConfig, micro_batch_tokens: int
) -> None:
    plain = new_learner(world, 0)
    done, expected = plain_step(plain, algorithm, micro_batch_tokens)

    learner, figures = new_learner(world, 0), Figures()
    trainer = trainer_of(learner, algorithm, micro_batch_tokens)
    samples = samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm)
    trained = trainer.train_policy(trainer.prepared(samples, figures), figures)

    assert trained.loss == sum(update.loss for update in done) / len(done)
    assert trained.grad_norm == sum(update.grad_norm for update in done) / len(done)
    means = figures.over_ranks(world)
    assert {name: means[name] for name in expected} == expected
    for (name, weight), (_, wanted) in zip(learner.weights(), plain.weights(), strict=True):
        assert torch.equal(weight, wanted), name


def test_the_first_update_of_a_step_has_no_old_policy_pass_and_every_later_one_has_one(world: World) -> None:
    learner = new_learner(world, 0)
    passes = Passes(learner)
    algorithm = AlgorithmConfig(minibatch_sequences=4, epochs=3)
    trainer, figures = trainer_of(learner, algorithm), Figures()
    samples = samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm)
    updates = trainer.updates(samples)
    first, *later = [sum(int(batch.response_mask.sum()) for batch in batches) for batches in updates]
    trainer.train_policy(trainer.prepared(samples, figures), figures)
    assert passes.tokens == {"alone": sum(later), "trained": 3 * (first + sum(later))}


@pytest.mark.parametrize("name", ["one update", "sampler"])
def test_there_is_no_old_policy_pass_with_one_update_a_step_or_the_samplers_logprobs(world: World, name: str) -> None:
    learner = new_learner(world, 0)
    passes = Passes(learner)
    trainer, figures = trainer_of(learner, ALGORITHMS[name]), Figures()
    samples = samples_of(fixed_rollouts(), NUM_SAMPLES, ALGORITHMS[name])
    trainer.train_policy(trainer.prepared(samples, figures), figures)
    assert passes.tokens["alone"] == 0


@pytest.fixture(scope="module")
def sampled() -> list[Rollout]:
    """Responses of the policy itself, by the transformers engine in float32."""
    engine, fixed = TransformersEngine(policy().eval(), max_concurrent_sequences=NUM_SAMPLES), fixed_rollouts()
    requests = [Request(rollout.problem.prompt_ids, 12, seed) for seed, rollout in enumerate(fixed)]
    completions = engine.generate(requests, Sampling(TEMPERATURE))
    return [replace(rollout, completion=completion) for rollout, completion in zip(fixed, completions, strict=True)]


def test_the_samplers_logprobs_serve_as_well_where_sampler_and_trainer_compute_alike(
    world: World, sampled: list[Rollout]
) -> None:
    recomputed, taken = (
        step(new_learner(world, 0), sampled, algorithm=AlgorithmConfig(minibatch_sequences=4, old_logprobs=old))
        for old in ("recompute", "sampler")
    )
    assert taken == pytest.approx(recomputed, rel=ROUNDING)


@pytest.mark.parametrize("kl_in", ["loss", "reward"])
@pytest.mark.parametrize("old", ["recompute", "sampler"])
def test_sampler_and_policy_are_compared_wherever_old_logprobs_and_divergence_are(
    world: World, old: str, kl_in: str
) -> None:
    settings = {"old_logprobs": old, "kl_in": kl_in, "kl_coefficient": 0.1, "kl_estimator": "k1", "scale": "none"}
    algorithm = AlgorithmConfig.model_validate({**settings, "minibatch_sequences": 4})
    compared: list[int] = []
    figures, trainer = Figures(), trainer_of(new_learner(world, 0), algorithm)
    updates = trainer.prepared(samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm), figures)
    trainer.train_policy(updates, figures, lambda: compared.append(figures.counts["sampler_kl"]))
    tokens = [sum(int((batch.weights > 0).sum()) for batch in batches) for batches in updates]
    assert compared == [tokens[0] if old == "sampler" else sum(tokens)]


def test_disagreement_by_rounding_is_measured_and_not_itself_rounding(world: World, sampled: list[Rollout]) -> None:
    algorithm = AlgorithmConfig(minibatch_sequences=4)
    figures, trainer = Figures(), trainer_of(new_learner(world, 0), algorithm)
    samples = samples_of(sampled, NUM_SAMPLES, algorithm)
    trainer.train_policy(trainer.prepared(samples, figures), figures)
    means = figures.over_ranks(world)
    assert means["sampler_logprob_error_mean"] is not None
    assert means["sampler_kl"] is not None
    error = means["sampler_logprob_error_mean"] - 1
    assert 0 < error < ROUNDING
    assert error**2 / 2 <= means["sampler_kl"] < ROUNDING**2  # half the mean square, at least half the squared mean


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_what_stops_a_step_before_its_first_change_leaves_the_policy_as_it_was(world: World, zero_stage: int) -> None:
    learner, figures = new_learner(world, zero_stage), Figures()
    before = {name: weight.clone() for name, weight in learner.weights()}
    algorithm = AlgorithmConfig(minibatch_sequences=4)
    trainer = trainer_of(learner, algorithm)
    samples = samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm)
    updates = trainer.updates(samples)
    compared: list[int] = []

    def stop() -> None:
        compared.append(figures.counts["sampler_kl"])
        raise GuardStop("here")

    with pytest.raises(GuardStop, match="here"):
        trainer.train_policy(trainer.prepared(samples, figures), figures, stop)
    trained = [batch.weights > 0 for batches in updates for batch in batches]
    assert compared == [sum(int(mask.sum()) for mask in trained)]  # every token of every update
    for name, weight in learner.weights():
        assert torch.equal(weight, before[name]), name


def test_what_a_correction_did_is_told_and_what_is_off_is_null(world: World) -> None:
    correction = {"weight": "token", "max_weight": 2.0, "mask": "token", "mask_low": 0.5}
    learner, figures = new_learner(world, 0), Figures()
    algorithm = AlgorithmConfig(minibatch_sequences=12, correction=correction)
    trainer = trainer_of(learner, algorithm)
    samples = samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm)
    updates = trainer.updates(samples)
    (old, _), batches = learner.logprobs(updates[0], TEMPERATURE), updates[0]
    trainer.train_policy(trainer.prepared(samples, figures), figures)
    ratios = torch.cat([(o - batch.sampler_logprobs).exp() for o, batch in zip(old, batches, strict=True)]).tolist()
    weights = [0.0 if ratio < 0.5 else min(ratio, 2.0) for ratio in ratios]
    means = figures.over_ranks(world)
    assert means["correction_weight_mean"] == pytest.approx(sum(weights) / len(weights))
    assert means["correction_truncated_fraction"] == sum(ratio > 2.0 for ratio in ratios) / len(ratios) > 0
    assert means["correction_masked_fraction"] == sum(ratio < 0.5 for ratio in ratios) / len(ratios) > 0

    figures = Figures()
    trainer = trainer_of(learner, AlgorithmConfig(minibatch_sequences=12, correction={"weight": "sequence"}))
    trainer.train_policy(trainer.prepared(samples, figures), figures)
    means = figures.over_ranks(world)
    assert means["correction_weight_mean"] is not None
    assert means["correction_truncated_fraction"] is None
    assert means["correction_masked_fraction"] is None
