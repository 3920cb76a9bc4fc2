"""Trains an adapter at every ZeRO stage, gives it to a sampler after each step, and goes on from its checkpoint.

Run by `test_lora_training`: under torchrun on two ranks, and called in the test's own process as one rank.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import restore_checkpoint
from rl_core.config import load_config
from rl_core.config.models import LoraConfig
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.models.lora import add_adapter, unscaled
from rl_core.rollout.fingerprint import tensor_fingerprint
from rl_core.rollout.transformers_engine import TransformersEngine
from rl_core.training.learner import Learner
from rl_core.training.reference import AdapterOff
from rl_core.training.synchronize import synchronize
from rl_core.world import World, seed_everything
from tests.rl_core.training import tiny_training
from tests.rl_core.training.tiny_training import ALGORITHM, fixed_rollouts, policy, step

ZERO_STAGES = (0, 1, 2, 3)
ZERO_STAGES_OF_TWO_RANKS = (2, 3)
STEPS, SAVED_AFTER = 2, 1
LORA = LoraConfig(rank=3, alpha=5)  # no power of two: B is rounded by the scale
KL = ALGORITHM.model_copy(update={"kl_coefficient": 0.1})


def new_learner(world: World, zero_stage: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Learner:
    """With an adapter drawn from `seed`."""
    seed_everything(seed)
    return tiny_training.new_learner(world, zero_stage, dtype=dtype, lora=LORA)


def new_sampler(world: World, dtype: torch.dtype = torch.float32) -> TransformersEngine:
    model = policy(dtype=dtype)
    model.generation_config.eos_token_id = 1
    add_adapter(model, unscaled(LORA))
    return TransformersEngine(model.to(world.device).eval(), max_concurrent_sequences=8)


def train(world: World, zero_stage: int, checkpoint: Path, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Figures of each step; what was sent; whether what is not trained changed."""
    learner, sampler = new_learner(world, zero_stage, dtype), new_sampler(world, dtype)
    saver = CheckpointSaver(
        learner, config=load_config(), key="key", tokenizer=build_tokenizer(), prompts=[(2, 3, 4, 5, 6)]
    )
    figures, sent = [], []
    with saver:
        for number in range(1, STEPS + 1):
            figures.append(_step(learner, number))
            sent.append(synchronize(learner, sampler, number))
            if number == SAVED_AFTER:
                saver.save(checkpoint, {"step": number})
    del learner.frozen_fingerprints
    first = {name: tensor_fingerprint(p) for name, p in policy(dtype=dtype).named_parameters()}
    return {"figures": figures, "sent_bytes": sent, "frozen": learner.frozen_fingerprints == first}


def go_on(world: World, zero_stage: int, checkpoint: Path, dtype: torch.dtype = torch.float32) -> list[Any]:
    """Figures of the steps after a checkpoint, by a learner whose adapter began with other values."""
    learner = new_learner(world, zero_stage, dtype, seed=1)
    restore_checkpoint(checkpoint, learner)
    return [_step(learner, number) for number in range(SAVED_AFTER + 1, STEPS + 1)]


def _step(learner: Learner, number: int) -> tuple[float, float]:
    return step(learner, fixed_rollouts(seed=number), algorithm=KL, reference=AdapterOff(learner))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    world = World.join()
    report = {stage: train(world, stage, folder / f"zero_{stage}") for stage in ZERO_STAGES_OF_TWO_RANKS}
    if world.is_first:
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
