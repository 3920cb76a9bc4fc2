"""A value head on the policy's hidden states: one forward pass, one loss, one update, and a checkpoint of both."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import restore_checkpoint
from rl_core.checkpoint.tensors import stored_tensors
from rl_core.config import AlgorithmConfig, load_config
from rl_core.config.models import LoraConfig, OptimizerConfig
from rl_core.config.training import TrainingConfig
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.models.shared_base import SharedBase
from rl_core.training.critic import HiddenStatesCritic
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.partitions import read_moment
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.world import World
from tests.rl_core.training.formulas import PLAIN, ROUNDING, logprobs_and_entropies
from tests.rl_core.training.tiny_training import HIDDEN, NUM_SAMPLES, REWARDS, TEMPERATURE, fixed_rollouts, policy

COEFFICIENT = 0.3
PPO = AlgorithmConfig(baseline="critic", scale="none", minibatch_sequences=len(REWARDS))
LORA = LoraConfig(rank=3, alpha=5)
SCORED = [index for index, reward in enumerate(REWARDS) if reward is not None]
KINDS = ["whole", "adapter", "shared base"]


def head_weight() -> torch.Tensor:
    return torch.randn(1, HIDDEN, generator=torch.Generator().manual_seed(3))


def new_learner(world: World, zero_stage: int, kind: str = "whole", optimizer: OptimizerConfig = PLAIN) -> Learner:
    torch.manual_seed(0)
    causal_lm, base = policy(), None
    if kind == "shared base":
        base = SharedBase(causal_lm)
        base.add("policy", LORA, field="policy.lora")
        base.settle(world.device)
    lora = None if kind == "whole" else LORA
    split = {"zero_optimization": {"stage3_param_persistence_threshold": 0}} if zero_stage == 3 else {}
    training = TrainingConfig(zero_stage=zero_stage, deepspeed=split)
    return Learner(causal_lm, training, optimizer, world, lora=lora, base=base, value_head=True)


def trainer_of(learner: Learner, algorithm: AlgorithmConfig = PPO) -> StepTrainer:
    return StepTrainer(
        learner, None, algorithm, num_samples=NUM_SAMPLES, temperature=TEMPERATURE, layout=Layout(64),
        critic=HiddenStatesCritic(learner), value_clip=None, value_coefficient=COEFFICIENT,
    )  # fmt: skip


def step(learner: Learner, seed: int = 0, algorithm: AlgorithmConfig = PPO) -> dict[str, Any]:
    trainer, figures = trainer_of(learner, algorithm), Figures()
    updates = trainer.prepared(samples_of(fixed_rollouts(seed), NUM_SAMPLES, algorithm), figures)
    done = trainer.train_policy(updates, figures)
    told = trainer.train_critic(updates, figures)
    assert (told.grad_norm, told.num_left_out) == (None, 0)
    return {"loss": done.loss, "norm": done.grad_norm, "value": told.loss, **figures.over_ranks(learner.world)}


def test_the_gradient_is_that_of_the_sum_of_both_losses(world: World) -> None:
    learner = new_learner(world, 0)
    learner.set_learning_rate(0.0)
    with torch.no_grad():
        dict(learner.head_parameters())["score.weight"].copy_(head_weight())
    told = step(learner)

    model, weight, bias = policy(), head_weight().requires_grad_(), torch.zeros(1, requires_grad=True)
    surrogates, squares = [], []
    for index in SCORED:
        rollout = fixed_rollouts()[index]
        prompt, response = rollout.problem.prompt_ids, rollout.completion.token_ids
        hidden = model.model(torch.tensor([[*prompt, *response]])).last_hidden_state[0, len(prompt) - 1 : -1]
        values = (hidden @ weight.T + bias)[:, 0]
        advantage = REWARDS[index] - values.detach()  # lambda and gamma are 1, and only the last token is paid
        logprobs, _ = logprobs_and_entropies(model, rollout)
        surrogates.append(-advantage * (logprobs - logprobs.detach()).exp())
        squares.append(0.5 * (values - REWARDS[index]) ** 2)
    unscored = sum(len(fixed_rollouts()[index].completion.token_ids) for index in range(len(REWARDS)))
    value_loss = torch.cat(squares).mean()
    policy_loss = torch.cat(surrogates).sum() / unscored  # whose tokens count in the denominator
    loss = policy_loss + COEFFICIENT * value_loss
    loss.backward()
    assert told["value"] == pytest.approx(value_loss.item(), rel=1e-4)
    assert told["loss"] == pytest.approx(loss.item(), rel=1e-4)
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    expected |= {"score.weight": weight.grad, "score.bias": bias.grad}
    for name, parameter in (*learner.named_parameters(), *learner.head_parameters()):
        gradient = read_moment(learner, parameter, "exp_avg")
        torch.testing.assert_close(gradient, expected.pop(name), **ROUNDING, msg=lambda text, name=name: name + text)
    assert not expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_head_says_zero_and_the_policys_weights_are_named_without_it(world: World, kind: str) -> None:
    learner = new_learner(world, 1, kind)
    batches = trainer_of(learner).updates(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO))[0]
    for values, logprobs in zip(learner.values(batches), learner.logprobs(batches, TEMPERATURE)[0], strict=True):
        assert values.shape == logprobs.shape
        assert not values.any()
    assert not any("score" in name for name, _ in learner.weights())
    assert [name for name, _ in HiddenStatesCritic(learner).named_parameters()] == ["score.weight", "score.bias"]


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_bit_for_bit(world: World, tmp_path: Path, kind: str, zero_stage: int) -> None:
    if kind == "shared base" and zero_stage == 3:
        return  # refused by the schema
    algorithm = PPO.model_copy(update={"minibatch_sequences": 6, "epochs": 2})
    rate = OptimizerConfig(learning_rate=1e-2)
    learner = new_learner(world, zero_stage, kind, rate)
    saver = CheckpointSaver(
        learner, config=load_config(), key="key", tokenizer=build_tokenizer(), prompts=[(2, 3, 4)],
        critic=HiddenStatesCritic(learner),
    )  # fmt: skip
    with saver:
        step(learner, 1, algorithm)
        saver.save(tmp_path / "checkpoint", {"step": 1})
        told = step(learner, 2, algorithm)
    again = new_learner(world, zero_stage, kind, rate)
    restore_checkpoint(tmp_path / "checkpoint", again, HiddenStatesCritic(again))
    assert step(again, 2, algorithm) == told
    assert told["value_mean"] != 0
    weights = stored_tensors(tmp_path / "checkpoint" / "policy" / "weights")
    assert not any("score" in name for name in weights)
    assert set(stored_tensors(tmp_path / "checkpoint" / "critic" / "weights")) == {"score.weight", "score.bias"}
