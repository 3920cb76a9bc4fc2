"""A few updates of a small policy on fixed responses: what the tests of the trainer have in common."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

from rl_core.config import AlgorithmConfig
from rl_core.config.models import CriticConfig, LoraConfig, OptimizerConfig, PolicyConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.token_values import load_token_values
from rl_core.rollout.collect import Rollout
from rl_core.training.critic import Critic
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.reference import FrozenCopy, ReferencePolicy
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.types import Completion, FinishReason, Problem, Score
from rl_core.world import World
from tests.rl_core.tiny import tiny_qwen2

VOCABULARY, HIDDEN = 431, 21  # odd, so that no tensor divides by the number of ranks
TEMPERATURE = 0.9
NUM_SAMPLES = 4
SAMPLER_LOGPROB = -7.5  # of every token of the fixed responses: the policy makes some likelier, some less likely
# Of three problems: mixed rewards with one unscored, none to learn from, mixed again.
REWARDS = (1.0, 0.0, None, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0)
# Two passes of two updates: in all but the first the ratio is not one, so that the loss depends on the weights. Wide
# bounds: a token on either side of a narrow one would make rounding visible.
ALGORITHM = AlgorithmConfig(minibatch_sequences=6, epochs=2, clip_low=0.9, clip_high=9.0)
UPDATES_OF_A_STEP = 4
NORMALIZER_TOKENS = 20
CUT_OFF = (1, 8)  # responses that the limit cut off
VALUE_CLIP = 0.5


def policy(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return tiny_qwen2(seed=seed, vocabulary=VOCABULARY, hidden_size=HIDDEN).to(dtype)


def fixed_rollouts(seed: int = 0) -> list[Rollout]:
    """Twelve responses of many lengths to three problems."""
    draw = torch.Generator().manual_seed(seed)

    def tokens(low: int, high: int) -> list[int]:
        count = int(torch.randint(low, high, (), generator=draw))
        return torch.randint(2, VOCABULARY, (count,), generator=draw).tolist()

    problems = [Problem(row, f"problem {row}", "1", tuple(tokens(2, 9))) for row in range(len(REWARDS) // NUM_SAMPLES)]
    rollouts = []
    for index, reward in enumerate(REWARDS):
        response = tokens(1, 20)
        reason: FinishReason = "length" if index in CUT_OFF else "stop"
        completion = Completion(response, [SAMPLER_LOGPROB] * len(response), reason, 0)
        score = Score(reward, {"boxed": reward}, None)
        rollouts.append(Rollout(problems[index // NUM_SAMPLES], index % NUM_SAMPLES, completion, "", score))
    return rollouts


def new_learner(
    world: World,
    zero_stage: int,
    *,
    dtype: torch.dtype = torch.float32,
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-2),  # noqa: B008 - frozen
    seed: int = 0,
    lora: LoraConfig | None = None,
) -> Learner:
    """A fresh policy under DeepSpeed. Under ZeRO-3 every parameter is split, however small."""
    return Learner(policy(seed=seed, dtype=dtype), _training(zero_stage), optimizer, world, lora=lora)


def _training(zero_stage: int) -> TrainingConfig:
    split = {"zero_optimization": {"stage3_param_persistence_threshold": 0}} if zero_stage == 3 else {}
    return TrainingConfig(zero_stage=zero_stage, deepspeed=split)


def new_critic(
    world: World,
    zero_stage: int,
    *,
    dtype: Literal["float32", "bfloat16"] = "float32",
    config: CriticConfig = CriticConfig(optimizer=OptimizerConfig(learning_rate=1e-2), value_clip=VALUE_CLIP),  # noqa: B008 - frozen
    seed: int = 0,
) -> Critic:
    """A critic with the policy's weights below a head that says something, which a new one does not."""
    with TemporaryDirectory() as own:
        folder = world.gather(own)[0]  # of several ranks save_pretrained writes on the first alone
        policy(seed=seed).save_pretrained(folder)
        world.barrier()
        torch.manual_seed(seed)
        settings = PolicyConfig(model_name="tiny", dtype=dtype)
        values = load_token_values(Path(folder), settings, world.device, lora=config.lora)
        world.barrier()
    torch.nn.init.normal_(values.token_classifier.score.weight)
    return Critic(values, _training(zero_stage), config, world)


def first_policy() -> torch.nn.Module:
    """Near enough to `policy` that no bound on the divergence is reached."""
    near, draw = policy(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in near.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=draw)
    return near


def reference_of(world: World, zero_stage: int) -> ReferencePolicy:
    return FrozenCopy(first_policy(), TrainingConfig(zero_stage=zero_stage), world)


def step(
    learner: Learner,
    rollouts: Sequence[Rollout],
    *,
    algorithm: AlgorithmConfig = ALGORITHM,
    reference: ReferencePolicy | None = None,
    layout: Layout = Layout(64),  # noqa: B008 - frozen
) -> tuple[float, float]:
    """One step on these responses; loss and norm of the gradient."""
    trainer = StepTrainer(
        learner,
        reference,
        algorithm,
        num_samples=NUM_SAMPLES,
        temperature=TEMPERATURE,
        layout=layout,
        normalizer_tokens=NORMALIZER_TOKENS,
    )
    figures = Figures()
    samples = samples_of(rollouts, NUM_SAMPLES, algorithm)
    trained = trainer.train_policy(trainer.prepared(samples, figures), figures)
    assert trained.loss is not None
    assert trained.grad_norm is not None
    return trained.loss, trained.grad_norm
