"""Trains a small policy at every ZeRO stage, saves it in the middle, and goes on from what another world saved.

The same with a critic beside it, by PPO; and leaves out an update that is not finite on one rank alone.

Run by `test_zero_stages`: under torchrun on two ranks, and called in the test's own process as one rank.
"""

import json
import resource
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import torch

from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import restore_checkpoint
from rl_core.config import AlgorithmConfig, load_config
from rl_core.config.algorithm import Aggregation
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import MistakeError
from rl_core.training.figures import Figures as FiguresOfStep
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.world import World
from tests.rl_core.training.formulas import TERMS, assert_gradient, still_learner, written_out
from tests.rl_core.training.nonfinite import ALL_AT_ONCE, same_state, spoilt, state_of
from tests.rl_core.training.tiny_ppo import Numbers, continue_by_ppo, train_by_ppo
from tests.rl_core.training.tiny_training import (
    NUM_SAMPLES,
    REWARDS,
    fixed_rollouts,
    new_learner,
    reference_of,
    step,
)

ZERO_STAGES = (0, 1, 2, 3)
STEPS, SAVED_AFTER = 4, 2
# What a world goes on from: (ZeRO stage that wrote, ZeRO stage that reads).
HANDOVERS = ((3, 1), (1, 3), (0, 2), (2, 0))
HANDOVERS_OF_PPO = ((3, 1), (0, 3))
# Each term of the loss with one aggregation and one layout in turn; more pairs are compared without ZeRO.
WAYS = list(zip(TERMS.values(), cycle(get_args(Aggregation)), cycle((True, False)), strict=False))
PROMPTS = [tuple(range(2, 12)), (30, 31, 32)]

Figures = list[tuple[float, float]]  # loss and norm of the gradient of each step


def train_every_stage(
    world: World, folder: Path, zero_stages: Sequence[int] = ZERO_STAGES, dtype: torch.dtype = torch.float32
) -> dict[str, Figures]:
    """Loss and gradient norm of every step by ZeRO stage; a checkpoint of each, `zero_<stage>`, after SAVED_AFTER."""
    figures: dict[str, Figures] = {}
    for zero_stage in zero_stages:
        learner = new_learner(world, zero_stage, dtype=dtype)
        figures[f"zero {zero_stage}"] = []
        with new_saver(learner) as saver:
            for number in range(1, STEPS + 1):
                figures[f"zero {zero_stage}"].append(step(learner, fixed_rollouts(seed=number)))
                if number == SAVED_AFTER:
                    saver.save(folder / f"zero_{zero_stage}", {"step": number})
    return figures


def new_saver(learner: Learner) -> CheckpointSaver:
    return CheckpointSaver(learner, config=load_config(), key="key", tokenizer=build_tokenizer(), prompts=PROMPTS)


def continue_from(world: World, checkpoint: Path, zero_stage: int, dtype: torch.dtype = torch.float32) -> Figures:
    """The steps after SAVED_AFTER, from a checkpoint, by a policy that began with other weights."""
    learner = new_learner(world, zero_stage, dtype=dtype, seed=5)
    state = restore_checkpoint(checkpoint, learner)
    assert state["step"] == SAVED_AFTER
    return [step(learner, fixed_rollouts(seed=number)) for number in range(SAVED_AFTER + 1, STEPS + 1)]


def require_the_gradients_of_the_formulas(world: World, zero_stages: Sequence[int] = ZERO_STAGES) -> int:
    """Every term of the loss in one of WAYS, at every ZeRO stage, against the formulas; how many.

    The formulas take one sequence at a time, the learners what a layout puts together.
    """
    learners = [(still_learner(world, zero_stage), reference_of(world, zero_stage)) for zero_stage in zero_stages]
    compared = 0
    for terms, aggregation, packed in WAYS:
        algorithm = AlgorithmConfig.model_validate(
            {"minibatch_sequences": len(REWARDS), "aggregation": aggregation, **terms}
        )
        _, expected = written_out(algorithm)
        for learner, reference in learners:
            step(
                learner,
                fixed_rollouts(),
                algorithm=algorithm,
                reference=reference if algorithm.kl_coefficient else None,
                layout=Layout(50, packed=packed),
            )
            assert_gradient(learner, expected)
            compared += 1
    return compared


def fail_on_the_last_rank(world: World, folder: Path) -> list[str]:
    """What each rank is told at its second checkpoint when one of them could not write its part of the first."""
    learner = new_learner(world, 1)
    step(learner, fixed_rollouts())
    saver = new_saver(learner)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    if world.rank == world.size - 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))
    saver.save(folder / "first", {"step": 1})
    told = ""
    try:
        saver.save(folder / "second", {"step": 2})
    except MistakeError as mistake:
        told = str(mistake)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    return world.gather(told)


def train_every_stage_by_ppo(world: World, folder: Path) -> dict[str, list[Numbers]]:
    """What each step of PPO came to, by ZeRO stage; a checkpoint of each, `ppo_<stage>`."""
    return {f"zero {stage}": train_by_ppo(world, stage, folder / f"ppo_{stage}") for stage in ZERO_STAGES}


def go_on_by_ppo(world: World, other: Path) -> dict[str, list[Numbers]]:
    """What follows the checkpoints that another world saved."""
    return {
        f"from {wrote} to {reads}": continue_by_ppo(world, reads, other / f"ppo_{wrote}")
        for wrote, reads in HANDOVERS_OF_PPO
    }


def leave_out_on_one_rank(world: World, zero_stage: int) -> dict[str, list[Any]]:
    """Steps 1 and 2 with one between whose loss is NaN on the rank that has a certain response; by rank."""
    learner = new_learner(world, zero_stage)
    figures = [step(learner, fixed_rollouts(seed=1))]
    before = state_of(learner)
    trainer = StepTrainer(learner, None, ALL_AT_ONCE, num_samples=NUM_SAMPLES, temperature=1.0, layout=Layout(64))
    updates = trainer.updates(spoilt(samples_of(fixed_rollouts(), NUM_SAMPLES, ALL_AT_ONCE)))
    trained = trainer.train_policy(updates, FiguresOfStep())
    unchanged = same_state(state_of(learner), before)
    figures.append(step(learner, fixed_rollouts(seed=2)))
    return {
        "spoilt": world.gather(any(bool(batch.advantages.isnan().any()) for batch in updates[0])),
        "left out": world.gather(trained.num_left_out),
        "unchanged": world.gather(unchanged),
        "figures": figures,
    }


def main(own: Path, other: Path) -> None:
    """Train into `own`, then go on from the checkpoints in `other`."""
    torch.set_num_threads(1)
    world = World.join()
    figures = train_every_stage(world, own)
    for wrote, reads in HANDOVERS:
        figures[f"from {wrote} to {reads}"] = continue_from(world, other / f"zero_{wrote}", reads)
    compared = require_the_gradients_of_the_formulas(world)
    ppo = train_every_stage_by_ppo(world, own) | go_on_by_ppo(world, other)
    left_out = {zero_stage: leave_out_on_one_rank(world, zero_stage) for zero_stage in ZERO_STAGES}
    told = fail_on_the_last_rank(world, own / "failed")
    if world.is_first:
        (own / "ppo.json").write_text(json.dumps(ppo))
        (own / "left_out.json").write_text(json.dumps(left_out))
        (own / "compared.json").write_text(json.dumps(compared))
        (own / "told.json").write_text(json.dumps(told))
        (own / "figures.json").write_text(json.dumps(figures))
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
