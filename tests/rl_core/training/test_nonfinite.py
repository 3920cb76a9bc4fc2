"""An update whose loss or gradient is not finite is left out, as if it had not been; too many in a row end the run."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from rl_core.config import AlgorithmConfig
from rl_core.config.training import GuardConfig
from rl_core.errors import GuardStop
from rl_core.training.batching import MicroBatch
from rl_core.training.credit import Updates
from rl_core.training.critic import Critic
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.guard import NonfiniteGuard
from rl_core.training.learner import Learner
from rl_core.training.partitions import create_moments
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer, Trained
from rl_core.training.trained_module import Update
from rl_core.world import World
from tests.rl_core.training.nonfinite import ALL_AT_ONCE, same_state, spoilt, state_of
from tests.rl_core.training.tiny_training import (
    NUM_SAMPLES,
    TEMPERATURE,
    VALUE_CLIP,
    fixed_rollouts,
    new_critic,
    new_learner,
    step,
)

# bfloat16 is not trained without ZeRO.
MODULES = [(stage, torch.float32) for stage in (0, 1, 2, 3)] + [(stage, torch.bfloat16) for stage in (1, 2, 3)]
LOSSES = (math.nan, math.inf, -math.inf)
PPO = AlgorithmConfig(baseline="critic", scale="none", minibatch_sequences=12)


def trainer_of(
    learner: Learner,
    algorithm: AlgorithmConfig = ALL_AT_ONCE,
    *,
    critic: Critic | None = None,
    guard: GuardConfig = GuardConfig(max_nonfinite_updates=100),  # noqa: B008 - frozen
) -> StepTrainer:
    return StepTrainer(
        learner,
        None,
        algorithm,
        num_samples=NUM_SAMPLES,
        temperature=TEMPERATURE,
        layout=Layout(64),
        critic=critic,
        value_clip=VALUE_CLIP,
        guard=guard,
    )


def spoilt_step(learner: Learner, trainer: StepTrainer, algorithm: AlgorithmConfig, advantage: float) -> Trained:
    figures = Figures()
    updates = trainer.prepared(spoilt(samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm), advantage), figures)
    broken = [not bool(batch.advantages.isfinite().all()) for batch in updates[0]]
    assert len(broken) > 2
    assert sum(broken) == 1
    return trainer.train_policy(updates, figures)


def half_broken(learner: Learner, loss: Callable[[torch.Tensor], torch.Tensor]) -> Update:
    """An update of which one micro-batch has this loss."""
    trainer = trainer_of(learner)
    (batches,) = trainer.updates(samples_of(fixed_rollouts(), NUM_SAMPLES, ALL_AT_ONCE))

    def token_loss(batch: MicroBatch, logprobs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return loss(logprobs) if batch is batches[1] else logprobs.sum()

    return learner.update(batches, TEMPERATURE, token_loss)


def without_gradient(logprobs: torch.Tensor) -> torch.Tensor:
    """Zero, whose gradient is not finite."""
    return (0 * logprobs).sum().sqrt()


def without_value(logprobs: torch.Tensor) -> torch.Tensor:
    """NaN, whose gradient is finite."""
    return logprobs.sum() + math.nan


@pytest.mark.parametrize(("zero_stage", "dtype"), MODULES)
def test_an_update_of_the_policy_that_is_not_finite_is_as_if_it_had_not_been(
    world: World, zero_stage: int, dtype: torch.dtype
) -> None:
    plain, learner = (new_learner(world, zero_stage, dtype=dtype) for _ in range(2))
    trainer = trainer_of(learner)
    create_moments(learner, 0)  # as a stage does: the very first update may be left out
    for seed in (1, 2):
        before = state_of(learner)
        for loss in LOSSES:
            assert spoilt_step(learner, trainer, ALL_AT_ONCE, loss) == Trained(None, None, 1)
            assert same_state(state_of(learner), before), loss
        for half in (without_gradient, without_value):
            update = half_broken(learner, half)
            assert math.isfinite(update.loss) == (half is without_gradient)
            assert not update.applied
            assert same_state(state_of(learner), before), half
        assert step(learner, fixed_rollouts(seed=seed)) == step(plain, fixed_rollouts(seed=seed))
        assert not same_state(state_of(learner), before)
    assert same_state(state_of(learner), state_of(plain))


def with_returns(updates: Updates, value: float) -> Updates:
    """The same, one return of the first response being `value`."""

    def changed(batch: MicroBatch) -> MicroBatch:
        if 0 not in batch.rows:
            return batch
        assert batch.returns is not None
        starts = batch.response_lengths.cumsum(0) - batch.response_lengths
        place = starts[batch.rows.index(0)]
        return replace(batch, returns=batch.returns.index_fill(0, place, value))

    return [[changed(batch) for batch in update] for update in updates]


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_an_update_of_the_critic_that_is_not_finite_is_as_if_it_had_not_been(world: World, zero_stage: int) -> None:
    critic, plain = (new_critic(world, zero_stage) for _ in range(2))
    trainer, figures = trainer_of(new_learner(world, 0), PPO, critic=critic), Figures()
    create_moments(critic, 0)
    updates = trainer.prepared(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO), figures)
    before = state_of(critic)
    for value in (math.nan, math.inf):
        assert trainer.train_critic(with_returns(updates, value), figures) == Trained(None, None, 1)
        assert same_state(state_of(critic), before)
    trained = trainer.train_critic(updates, figures)
    assert trained == trainer_of(new_learner(world, 0), PPO, critic=plain).train_critic(updates, figures)
    assert trained.num_left_out == 0
    assert same_state(state_of(critic), state_of(plain))


def test_of_several_updates_in_a_step_those_that_are_finite_are_made_and_told(world: World) -> None:
    algorithm = AlgorithmConfig(minibatch_sequences=6, epochs=2)
    learner, plain = new_learner(world, 0), new_learner(world, 0)
    samples = spoilt(samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm))
    trainer, figures = trainer_of(learner, algorithm), Figures()
    trained = trainer.train_policy(trainer.prepared(samples, figures), figures)
    other = trainer_of(plain, algorithm)
    _, finite = other.prepared(samples, figures)
    assert trained == replace(other.train_policy([finite], figures), num_left_out=2)
    assert trained.loss is not None


def test_more_in_a_row_than_the_bound_stop_the_run(world: World) -> None:
    learner = new_learner(world, 1)
    trainer = trainer_of(learner, guard=GuardConfig(max_nonfinite_updates=2))
    good, figures = samples_of(fixed_rollouts(), NUM_SAMPLES, ALL_AT_ONCE), Figures()
    for _ in range(2):  # what is between them breaks the row
        spoilt_step(learner, trainer, ALL_AT_ONCE, math.nan)
        spoilt_step(learner, trainer, ALL_AT_ONCE, math.nan)
        trainer.train_policy(trainer.prepared(good, figures), figures)
    before = state_of(learner)
    spoilt_step(learner, trainer, ALL_AT_ONCE, math.nan)
    spoilt_step(learner, trainer, ALL_AT_ONCE, math.nan)
    message = (
        r"^3 updates of the policy in a row were not finite \(the last: loss nan, gradient norm (inf|nan)\), more than "
        r"guard\.max_nonfinite_updates \(2\)\..* Look at the rewards and at the learning rate; in bfloat16"
    )
    with pytest.raises(GuardStop, match=message):
        spoilt_step(learner, trainer, ALL_AT_ONCE, math.nan)
    assert same_state(state_of(learner), before)
    assert (trainer.nonfinite["policy"].in_a_row, trainer.nonfinite["critic"].in_a_row) == (3, 0)


def test_the_critics_updates_are_counted_apart(world: World) -> None:
    critic = new_critic(world, 1)
    guard = GuardConfig(max_nonfinite_updates=0)
    trainer, figures = trainer_of(new_learner(world, 0), PPO, critic=critic, guard=guard), Figures()
    updates = trainer.prepared(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO), figures)
    with pytest.raises(GuardStop, match=r"^1 updates of the critic in a row .* loss nan, gradient norm"):
        trainer.train_critic(with_returns(updates, math.nan), figures)
    assert (trainer.nonfinite["policy"].in_a_row, trainer.nonfinite["critic"].in_a_row) == (0, 1)


def test_a_guard_that_is_told_of_the_row_before_judges_as_one_that_saw_it() -> None:
    guard = NonfiniteGuard("policy", 3)
    guard.in_a_row = 3
    with pytest.raises(GuardStop, match="4 updates"):
        guard.see(Update(1.0, math.inf))
    guard.see(Update(1.0, 2.0))
    assert guard.in_a_row == 0


def test_a_training_that_has_no_rewards_is_not_told_to_look_at_them() -> None:
    with pytest.raises(GuardStop, match=r"last checkpoint\. Look at the learning rate; in bfloat16") as stopped:
        NonfiniteGuard("reward model", 0).see(Update(math.nan, 1.0))
    assert "rewards" not in str(stopped.value)
