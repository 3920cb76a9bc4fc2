"""Four roles on one small base, the same four as models of their own, and steps of both. Run under torchrun too."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2ForSequenceClassification

from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import restore_checkpoint
from rl_core.config import AlgorithmConfig, load_config
from rl_core.config.models import CriticConfig, LoraConfig, OptimizerConfig
from rl_core.config.training import TrainingConfig
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.models.adapter_files import Adapter
from rl_core.models.lora import A, add_adapter, name_without_peft, with_scale
from rl_core.models.reward_model import SharedRewardModel
from rl_core.models.shared_base import SharedBase
from rl_core.models.token_values import TokenValues, ValueModel
from rl_core.training.critic import Critic
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.partitions import write_weight
from rl_core.training.reference import FrozenAdapter, FrozenCopy, ReferencePolicy
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.world import World
from tests.rl_core.training.tiny_training import (
    HIDDEN,
    NUM_SAMPLES,
    TEMPERATURE,
    VALUE_CLIP,
    fixed_rollouts,
    policy,
)

ZERO_STAGES = (0, 1, 2)
STEPS, SAVED_AFTER = 2, 1
LORA, REWARD_LORA = LoraConfig(rank=3, alpha=5), LoraConfig(rank=2, alpha=3, target_modules=("q_proj", "down_proj"))
OPTIMIZER = OptimizerConfig(learning_rate=1e-2)
CRITIC = CriticConfig(backbone="shared", lora=LORA, optimizer=OPTIMIZER, value_clip=VALUE_CLIP)
# The divergence is in the reward, so that old log-probabilities are those of a pass of their own.
PPO = AlgorithmConfig(
    baseline="critic", scale="none", kl_coefficient=0.1, kl_in="reward", kl_estimator="k1", minibatch_sequences=6,
    epochs=2,
)  # fmt: skip
CONVERSATIONS = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14, 15, 16, 17, 18]]


@dataclass(frozen=True)
class Roles:
    """What a step is made with."""

    learner: Learner
    critic: Critic
    reference: ReferencePolicy
    base: SharedBase | None = None
    judge: SharedRewardModel | None = None


def drawn_adapter(lora: LoraConfig, seed: int) -> Adapter:
    """An adapter that does something, with a head."""
    model, draw = policy(), torch.Generator().manual_seed(seed)
    add_adapter(model, lora)
    shapes = {name_without_peft(name): p.shape for name, p in model.named_parameters() if p.requires_grad}
    tensors = {name: 0.1 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    layers = tuple(sorted({name.removesuffix(A).rpartition(".")[-1] for name in tensors if name.endswith(A)}))
    head = torch.randn(1, HIDDEN, generator=draw)
    return Adapter(lora.model_copy(update={"target_modules": layers}), tensors, head)


def merged(adapter: Adapter, model: torch.nn.Module | None = None) -> torch.nn.Module:
    """The base, or the model that is given, with the adapter in its weights."""
    model = model or policy()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            a = adapter.tensors.get(name.removesuffix(".weight") + A)
            if a is not None:
                b = name.removesuffix(".weight") + ".lora_B.weight"
                parameter += with_scale(b, adapter.tensors[b], adapter.lora) @ a
    return model


def merged_classifier(adapter: Adapter, model: torch.nn.Module | None = None) -> Qwen2ForSequenceClassification:
    """The reward model that the adapter and its head are, by itself."""
    below = merged(adapter, model)
    alone = Qwen2ForSequenceClassification(below.config)
    alone.score = torch.nn.Linear(below.config.hidden_size, 1, bias=False)
    alone.model.load_state_dict(below.model.state_dict())
    assert adapter.head is not None
    alone.score.weight.data.copy_(adapter.head)
    alone.config.num_labels = alone.num_labels = 1
    return alone.eval()


FIRST, REWARD = drawn_adapter(LORA, 1), drawn_adapter(REWARD_LORA, 2)


def shared(
    world: World,
    zero_stage: int,
    *,
    checkpointing: bool = False,
    dtype: torch.dtype = torch.float32,
    first: bool = True,
) -> Roles:
    """Four adapters on one base; with none to begin with where `first` is False."""
    torch.manual_seed(0)
    causal_lm = policy(dtype=dtype)
    if checkpointing:
        causal_lm.gradient_checkpointing_enable()
    base = SharedBase(causal_lm)
    tensors = FIRST.tensors if first else None
    base.add("policy", LORA, tensors, field="policy.lora")
    base.add("value", LORA, tensors, field="critic.lora")
    if first:
        base.add("reference", LORA, tensors, field="policy.lora")
    base.add("reward", REWARD.lora, REWARD.tensors, field="reward")
    base.settle(world.device)
    training = TrainingConfig(zero_stage=zero_stage)
    learner = Learner(causal_lm, training, OPTIMIZER, world, lora=LORA, base=base)
    values = TokenValues(ValueModel(causal_lm))
    with torch.no_grad():
        values.token_classifier.score.weight.copy_(first_head())
    critic = Critic(values, training, CRITIC, world, base=base)
    assert REWARD.head is not None
    judge = SharedRewardModel(base, REWARD.head, build_tokenizer())
    return Roles(learner, critic, FrozenAdapter(base, learner), base, judge)


def separate(world: World, zero_stage: int) -> Roles:
    """The same, each on a model of its own: an adapter where it is trained, merged where it is frozen."""
    training = TrainingConfig(zero_stage=zero_stage)
    causal_lm = policy()
    learner = Learner(causal_lm, training, OPTIMIZER, world, lora=LORA)
    other = policy()
    add_adapter(other, LORA)
    values = TokenValues(ValueModel(other))
    with torch.no_grad():
        values.token_classifier.score.weight.copy_(first_head())
    critic = Critic(values, training, CRITIC, world)
    for module in (learner, critic):
        for name, parameter in module.named_parameters():
            if ".lora_" in name:
                write_weight(module, parameter, FIRST.tensors[in_the_model(name)])
    return Roles(learner, critic, FrozenCopy(merged(FIRST), training, world))


def in_the_model(name: str) -> str:
    """A parameter's name in the causal language model, from that in a critic on a transformer of its own."""
    return re.sub("^base_model[.]", "model.", name)


def first_head() -> torch.Tensor:
    return torch.randn(1, HIDDEN, generator=torch.Generator().manual_seed(3))


def trainer_of(roles: Roles, algorithm: AlgorithmConfig = PPO) -> StepTrainer:
    return StepTrainer(
        roles.learner, roles.reference, algorithm, num_samples=NUM_SAMPLES, temperature=TEMPERATURE, layout=Layout(64),
        critic=roles.critic, value_clip=VALUE_CLIP,
    )  # fmt: skip


def step(roles: Roles, seed: int, algorithm: AlgorithmConfig = PPO) -> dict[str, Any]:
    """One whole step; its losses, norms and figures. The reward model is asked as well, before and in between."""
    trainer, figures = trainer_of(roles, algorithm), Figures()
    scores = ask(roles)
    updates = trainer.prepared(samples_of(fixed_rollouts(seed), NUM_SAMPLES, algorithm), figures)
    done = trainer.train_policy(updates, figures)
    assert ask(roles) == scores, "the reward model moved with the policy"
    valued = trainer.train_critic(updates, figures)
    told = figures.over_ranks(roles.learner.world)
    return {
        "policy": [done.loss, done.grad_norm],
        "critic": [valued.loss, valued.grad_norm],
        "figures": [told[name] for name in ("kl_ref_mean", "kl_old_mean", "value_mean", "return_mean", "entropy_mean")],
        "scores": scores,
    }


def ask(roles: Roles) -> list[float] | None:
    return None if roles.judge is None else roles.judge.scores(CONVERSATIONS, 64)


def numbers(report: dict[str, Any]) -> list[float]:
    return [*report["policy"], *report["critic"], *report["figures"]]


def weights_of(roles: Roles) -> Iterator[tuple[str, torch.Tensor]]:
    for name, module in (("policy", roles.learner), ("critic", roles.critic)):
        for parameter_name, parameter in module.named_parameters():
            yield f"{name}.{in_the_model(parameter_name)}", parameter.detach().clone()


def train(world: World, zero_stage: int, checkpoint: Path, **options: Any) -> list[dict[str, Any]]:
    """Every step of it, with a checkpoint behind the first."""
    roles = shared(world, zero_stage, **options)
    saver = CheckpointSaver(
        roles.learner, config=load_config(), key="key", tokenizer=build_tokenizer(), prompts=[(2, 3, 4, 5, 6)],
        critic=roles.critic,
    )  # fmt: skip
    reports = []
    with saver:
        for number in range(1, STEPS + 1):
            reports.append(step(roles, number))
            if number == SAVED_AFTER:
                saver.save(checkpoint, {"step": number})
    return reports


def go_on(world: World, zero_stage: int, checkpoint: Path, **options: Any) -> list[dict[str, Any]]:
    """The steps behind a checkpoint."""
    roles = shared(world, zero_stage, **options)
    restore_checkpoint(checkpoint, roles.learner, roles.critic)
    return [step(roles, number) for number in range(SAVED_AFTER + 1, STEPS + 1)]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    world = World.join()
    report = {stage: train(world, stage, folder / f"zero_{stage}") for stage in ZERO_STAGES}
    if world.is_first:
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
