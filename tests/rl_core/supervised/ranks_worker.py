"""Fine-tunes a small policy at every ZeRO stage: under torchrun on two ranks, and in the test's process on one."""

import json
import sys
from pathlib import Path

import torch

from rl_core.config.models import OptimizerConfig
from rl_core.training.grouping import Layout
from rl_core.world import World
from tests.rl_core.supervised.answers import answers, update
from tests.rl_core.training.tiny_training import new_learner

ZERO_STAGES = (0, 1, 2, 3)
UPDATES = 3
LAYOUT = Layout(30, packed=True)
RATE = 1e-3  # AdamW divides small gradients by their own size: a larger one would enlarge their rounding


def losses_at_every_stage(world: World) -> dict[str, list[tuple[float, float]]]:
    """Loss and norm of the gradient of each update, by ZeRO stage."""
    figures = {}
    for zero_stage in ZERO_STAGES:
        learner = new_learner(world, zero_stage, optimizer=OptimizerConfig(learning_rate=RATE))
        done = [update(learner, answers(number), LAYOUT) for number in range(UPDATES)]
        figures[str(zero_stage)] = [(each.loss, each.grad_norm) for each in done]
    return figures


def main(file: Path) -> None:
    torch.set_num_threads(1)
    world = World.join()
    figures = losses_at_every_stage(world)
    if world.is_first:
        file.write_text(json.dumps(figures))
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
