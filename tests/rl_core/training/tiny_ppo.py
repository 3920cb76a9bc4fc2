"""PPO on the fixed responses, policy and critic beside each other: for tests that compare worlds and ZeRO stages."""

from pathlib import Path

import torch

from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import restore_checkpoint
from rl_core.config import AlgorithmConfig, load_config
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.rollout.collect import Rollout
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.world import World
from tests.rl_core.training.tiny_training import (
    NUM_SAMPLES,
    TEMPERATURE,
    VALUE_CLIP,
    fixed_rollouts,
    new_critic,
    new_learner,
    reference_of,
)

# Wide bounds: a token on either side of a narrow one would make rounding visible.
PPO = AlgorithmConfig.model_validate(
    {
        "baseline": "critic", "scale": "none", "gae_lambda": 0.9, "discount": 0.95, "whiten": True,
        "kl_coefficient": 0.1, "kl_in": "reward", "kl_estimator": "k1",
        "minibatch_sequences": 6, "epochs": 2, "clip_low": 0.9, "clip_high": 9.0,
    }
)  # fmt: skip
STEPS, SAVED_AFTER = 2, 1

Numbers = dict[str, list[float]]  # of one step, by what they are of


class Ppo:
    """Policy, critic and reference, and the trainer of both."""

    def __init__(self, world: World, zero_stage: int, *, seed: int = 0) -> None:
        self.learner, self.critic = new_learner(world, zero_stage, seed=seed), new_critic(world, zero_stage, seed=seed)
        self.trainer = StepTrainer(
            self.learner,
            reference_of(world, zero_stage),
            PPO,
            num_samples=NUM_SAMPLES,
            temperature=TEMPERATURE,
            layout=Layout(64),
            critic=self.critic,
            value_clip=VALUE_CLIP,
        )

    def step(self, rollouts: list[Rollout]) -> Numbers:
        """One step; losses and gradient norms of both, the values that it began with, and what the metrics say."""
        figures, world = Figures(), self.learner.world
        updates = self.trainer.prepared(samples_of(rollouts, NUM_SAMPLES, PPO), figures)
        values: dict[int, float] = {}
        for batch in (batch for update in updates for batch in update if batch.weights.any()):
            assert batch.old_values is not None
            sums = torch.segment_reduce(batch.old_values, "sum", lengths=batch.response_lengths)
            values |= dict(zip(batch.rows, sums.tolist(), strict=True))
        of_all = {row: value for share in world.gather(values) for row, value in share.items()}
        policy, critic = self.trainer.train_policy(updates, figures), self.trainer.train_critic(updates, figures)
        means = figures.over_ranks(world)
        told = [means[name] for name in ("kl_ref_mean", "return_mean", "value_explained_variance", "kl_old_mean")]
        return {
            "policy": [number for number in (policy.loss, policy.grad_norm) if number is not None],
            "critic": [number for number in (critic.loss, critic.grad_norm) if number is not None],
            "values": [of_all[row] for row in range(len(rollouts))],
            "figures": [number for number in told if number is not None],
        }


def train_by_ppo(world: World, zero_stage: int, checkpoint: Path) -> list[Numbers]:
    """What each step came to; saved after SAVED_AFTER."""
    ppo = Ppo(world, zero_stage)
    saver = CheckpointSaver(
        ppo.learner,
        config=load_config(),
        key="key",
        tokenizer=build_tokenizer(),
        prompts=[tuple(range(2, 12))],
        critic=ppo.critic,
    )
    numbers = []
    with saver:
        for step in range(1, STEPS + 1):
            numbers.append(ppo.step(fixed_rollouts(seed=step)))
            if step == SAVED_AFTER:
                saver.save(checkpoint, {"step": step})
    return numbers


def continue_by_ppo(world: World, zero_stage: int, checkpoint: Path) -> list[Numbers]:
    """The steps after a checkpoint, by a policy and a critic that began with other weights."""
    ppo = Ppo(world, zero_stage, seed=5)
    restore_checkpoint(checkpoint, ppo.learner, ppo.critic)
    return [ppo.step(fixed_rollouts(seed=step)) for step in range(SAVED_AFTER + 1, STEPS + 1)]
