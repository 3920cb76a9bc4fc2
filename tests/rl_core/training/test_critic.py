"""The value model: what it says of a token, what it learns, and that it begins by saying nothing."""

from pathlib import Path

import pytest
import torch

from rl_core.config.sections import CriticConfig, PolicyConfig, TrainingConfig
from rl_core.models.token_values import load_token_values
from rl_core.training.batching import MicroBatch, Sample, micro_batches
from rl_core.training.critic import Critic
from rl_core.training.grouping import Layout
from rl_core.world import World
from tests.rl_core.tiny import tiny_qwen2

ROUNDING = {"rtol": 1e-4, "atol": 1e-5}
POLICY = PolicyConfig(model_name="tiny", dtype="float32")
SAMPLES = [
    Sample([5, 6, 7], [8, 9, 10, 11], [0.0] * 4, 0.0, reward=1.0, weight=1.0),
    Sample([12], [13, 14], [0.0] * 2, 0.0, reward=0.0, weight=1.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy")
    tiny_qwen2().save_pretrained(path)
    return path


def critic_of(folder: Path, world: World, zero_stage: int = 0, **settings: object) -> Critic:
    config = CriticConfig.model_validate({"optimizer": {"learning_rate": 1e-2}, **settings})
    torch.manual_seed(3)
    values = load_token_values(folder, POLICY, world.device, lora=config.lora)
    torch.nn.init.normal_(values.token_classifier.score.weight)
    return Critic(values, TrainingConfig(zero_stage=zero_stage), config, world)


def batches_of(world: World, layout: Layout) -> list[MicroBatch]:
    return micro_batches(SAMPLES, layout, rank=0, num_ranks=1, device=world.device)


def test_a_new_critic_says_zero_of_every_token(folder: Path, world: World) -> None:
    values = load_token_values(folder, POLICY, world.device)
    (batch,) = batches_of(world, Layout(64))
    assert values(batch.tokens, batch.response_mask).tolist() == [0.0] * 6
