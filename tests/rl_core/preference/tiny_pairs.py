"""A small reward model and fixed pairs: what the tests of its training have in common."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

from rl_core.config.models import LoraConfig, OptimizerConfig, PolicyConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.sequence_scores import SequenceScores, load_sequence_scores
from rl_core.preference.batching import TokenizedPair
from rl_core.preference.learner import RewardLearner
from rl_core.world import World
from tests.rl_core.tiny import tiny_qwen2

VOCABULARY, HIDDEN = 211, 21  # odd, so that no tensor divides by the number of ranks
# A step of exactly the gradient's direction whose first moment is the gradient: it has no betas and no decay.
PLAIN = OptimizerConfig(learning_rate=1e-2, betas=(0.0, 0.0), weight_decay=0.0, max_grad_norm=1e9)


def fixed_pairs(count: int = 5, *, seed: int = 0, weight: float | None = None) -> list[TokenizedPair]:
    """Pairs of conversations of many lengths; each has one weight, the mean's by default."""
    draw = torch.Generator().manual_seed(seed)

    def tokens() -> list[int]:
        length = int(torch.randint(2, 24, (), generator=draw))
        return torch.randint(2, VOCABULARY, (length,), generator=draw).tolist()

    return [TokenizedPair(place, tokens(), tokens(), 1 / count if weight is None else weight) for place in range(count)]


def save_policy(folder: Path, *, seed: int = 0) -> Path:
    tiny_qwen2(seed=seed, vocabulary=VOCABULARY, hidden_size=HIDDEN).save_pretrained(folder)
    return folder


def new_scores(
    world: World,
    *,
    lora: LoraConfig | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    head: bool = True,
) -> SequenceScores:
    """A new reward model, with a head that says something, which a new one does not, where asked for."""
    with TemporaryDirectory() as folder:
        save_policy(Path(folder), seed=seed)
        torch.manual_seed(seed)
        settings = PolicyConfig(model_name="tiny", dtype=dtype)
        scores = load_sequence_scores(Path(folder), settings, world.device, lora=lora)
    if head:
        torch.nn.init.normal_(scores.classifier.score.weight)
    return scores


def new_reward_learner(
    world: World,
    zero_stage: int = 0,
    *,
    lora: LoraConfig | None = None,
    optimizer: OptimizerConfig = PLAIN,
    dtype: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    head: bool = True,
) -> RewardLearner:
    """Under ZeRO-3 every parameter is split, however small."""
    split = {"zero_optimization": {"stage3_param_persistence_threshold": 0}} if zero_stage == 3 else {}
    training = TrainingConfig(zero_stage=zero_stage, deepspeed=split)
    return RewardLearner(new_scores(world, lora=lora, dtype=dtype, seed=seed, head=head), training, optimizer, world)
