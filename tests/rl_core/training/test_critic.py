"""The value model: what it says of a token, what it learns, what of it is trained, and what it cannot be made of."""

from dataclasses import replace
from pathlib import Path

import deepspeed
import pytest
import torch
from transformers import AutoModelForTokenClassification, GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

from rl_core.config import AlgorithmConfig
from rl_core.config.models import CriticConfig, LoraConfig, PolicyConfig
from rl_core.errors import MistakeError
from rl_core.models.token_values import load_token_values
from rl_core.rollout.fingerprint import tensor_fingerprint
from rl_core.training.batching import MicroBatch
from rl_core.training.critic import Critic
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.partitions import read_moment
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.world import World
from tests.rl_core.training.formulas import PLAIN, ROUNDING
from tests.rl_core.training.tiny_training import (
    CUT_OFF,
    NUM_SAMPLES,
    REWARDS,
    TEMPERATURE,
    VALUE_CLIP,
    fixed_rollouts,
    new_critic,
    new_learner,
    policy,
)

POLICY = PolicyConfig(model_name="tiny", dtype="float32")
# Each sequence alone, some together, all together; in buckets and end to end.
LAYOUTS = [Layout(tokens, packed=packed) for tokens in (1, 50, 10_000) for packed in (False, True)]
PPO = AlgorithmConfig(baseline="critic", scale="none", minibatch_sequences=len(REWARDS))
STILL = CriticConfig(optimizer=PLAIN, value_clip=VALUE_CLIP)  # its first moment is the gradient
TRAINED = {"all": range(len(REWARDS)), "filtered": [i for i in range(len(REWARDS)) if i not in CUT_OFF]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy")
    policy().save_pretrained(path)
    return path


def trainer_of(critic: Critic, algorithm: AlgorithmConfig = PPO, layout: Layout = LAYOUTS[2]) -> StepTrainer:
    return StepTrainer(
        new_learner(critic.world, 0),
        None,
        algorithm,
        num_samples=NUM_SAMPLES,
        temperature=TEMPERATURE,
        layout=layout,
        critic=critic,
        value_clip=VALUE_CLIP,
    )


def plain_classifier(critic: Critic, folder: Path) -> torch.nn.Module:
    """The model of transformers itself, with the critic's head."""
    model = AutoModelForTokenClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32).eval()
    weights = dict(critic.named_parameters())
    model.score.load_state_dict({name: weights[f"score.{name}"].detach() for name in ("weight", "bias")})
    return model


def plain_values(classifier: torch.nn.Module, index: int) -> torch.Tensor:
    """Of one of the fixed responses, from logits at the position before each of its tokens: [T]."""
    rollout = fixed_rollouts()[index]
    prompt, response = rollout.problem.prompt_ids, rollout.completion.token_ids
    return classifier(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1, 0]


def random_tokens(index: int, seed: int) -> torch.Tensor:
    """Some number for each token of one of the fixed responses: [T]."""
    draw = torch.Generator().manual_seed(100 * seed + index)
    return torch.randn(len(fixed_rollouts()[index].completion.token_ids), generator=draw)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_value_is_what_transformers_says_at_the_token_before(world: World, folder: Path, layout: Layout) -> None:
    critic = new_critic(world, 0)
    classifier = plain_classifier(critic, folder)
    (batches,) = trainer_of(critic, layout=layout).updates(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO))
    compared = []
    for batch, values in zip(batches, critic.values(batches), strict=True):
        for row, own in zip(batch.rows, values.split(batch.response_lengths.tolist()), strict=True):
            torch.testing.assert_close(own, plain_values(classifier, row).detach(), **ROUNDING)
            compared.append(row)
    assert sorted(compared) == list(range(len(REWARDS)))


def test_a_new_critic_says_zero_of_every_token_whatever_the_seed(world: World, folder: Path) -> None:
    torch.manual_seed(11)
    values = load_token_values(folder, POLICY, world.device)
    (batches,) = trainer_of(new_critic(world, 0)).updates(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO))
    for batch in batches:
        assert values(batch.tokens, batch.response_mask, batch.packed_lengths).unique().tolist() == [0.0]
    torch.testing.assert_close(values.token_classifier.base_model.state_dict(), policy().base_model.state_dict())


def test_transformers_does_not_warn_of_the_new_head(
    world: World, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_token_values(folder, POLICY, world.device)
    assert caplog.text == ""


def with_targets(batch: MicroBatch) -> MicroBatch:
    """With old values and returns that the critic itself would not give."""
    old_values, returns = (torch.cat([random_tokens(row, seed) for row in batch.rows]) for seed in (1, 2))
    return replace(batch, old_values=old_values, returns=returns)


def value_loss_written_out(classifier: torch.nn.Module, trained: list[int]) -> torch.Tensor:
    """The mean over the tokens of the scored responses among these."""
    losses = []
    for index in trained:
        if REWARDS[index] is None:
            continue
        values, old, returns = plain_values(classifier, index), random_tokens(index, 1), random_tokens(index, 2)
        bounded = torch.minimum(torch.maximum(values, old - VALUE_CLIP), old + VALUE_CLIP)
        losses.append(0.5 * torch.maximum((values - returns) ** 2, (bounded - returns) ** 2))
    return torch.cat(losses).mean()


@pytest.mark.parametrize("trained", TRAINED)
def test_the_gradient_is_that_of_the_value_loss_however_the_batch_is_split(
    world: World, folder: Path, trained: str
) -> None:
    algorithm = PPO.model_copy(update={"overlong_filtering": trained == "filtered"})
    critic = new_critic(world, 0, config=STILL)
    critic.set_learning_rate(0.0)
    classifier = plain_classifier(critic, folder)
    loss = value_loss_written_out(classifier, list(TRAINED[trained]))
    loss.backward()
    expected = {name: parameter.grad for name, parameter in classifier.named_parameters()}
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm().item()
    for layout in LAYOUTS:
        figures, trainer = Figures(), trainer_of(critic, algorithm, layout)
        samples = samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm)
        updates = [[with_targets(batch) for batch in update] for update in trainer.prepared(samples, figures)]
        done = trainer.train_critic(updates, figures)
        assert done.loss == pytest.approx(loss.item(), rel=1e-4)
        assert done.grad_norm == pytest.approx(norm, rel=1e-4)
        for name, parameter in critic.named_parameters():
            gradient = read_moment(critic, parameter, "exp_avg")
            torch.testing.assert_close(gradient, expected[name], **ROUNDING, msg=lambda text, name=name: name + text)
        assert 0 < (figures.over_ranks(world)["value_clip_fraction"] or 0.0) < 1


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_with_an_adapter_the_adapter_and_the_head_alone_are_trained(world: World, zero_stage: int) -> None:
    config = STILL.model_copy(update={"lora": LoraConfig(rank=3)})
    critic = new_critic(world, zero_stage, config=config)
    names = [name for name, _ in critic.named_parameters()]
    assert [name for name in names if "lora" not in name] == ["score.weight", "score.bias"]
    assert len(names) == 2 + 2 * 14  # A and B of the seven linear layers of two layers

    def digests(trained: bool) -> dict[str, int]:
        parameters = dict(critic.named_parameters(trained=trained))
        with deepspeed.zero.GatheredParameters(list(parameters.values()), enabled=zero_stage == 3):
            return {name: tensor_fingerprint(parameter.detach()) for name, parameter in parameters.items()}

    trained, frozen = digests(True), digests(False)
    assert frozen
    trainer, figures = trainer_of(critic), Figures()
    updates = trainer.prepared(samples_of(fixed_rollouts(), NUM_SAMPLES, PPO), figures)
    for _ in range(2):  # in the first A has no gradient, since B is zero
        trainer.train_critic(updates, figures)
    assert digests(False) == frozen
    after = digests(True)
    assert [name for name in names if after[name] == trained[name]] == []


def test_an_adapter_on_a_layer_that_is_not_there_is_told_by_the_critics_own_field(world: World, folder: Path) -> None:
    with pytest.raises(MistakeError, match=r"critic\.lora\.target_modules: query: the model has .*q_proj"):
        load_token_values(folder, POLICY, world.device, lora=LoraConfig(target_modules=("query",)))


SMALL = {"vocab_size": 31, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
WITHOUT = {
    "opt": OPTForCausalLM(
        OPTConfig(hidden_size=8, ffn_dim=8, num_hidden_layers=1, num_attention_heads=2, word_embed_proj_dim=8, **SMALL)
    ),
    "gpt2": GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, **SMALL)),
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_model_without_a_token_classifier_of_the_usual_build_is_refused(
    world: World, tmp_path: Path, kind: str
) -> None:
    WITHOUT[kind].save_pretrained(tmp_path)
    with pytest.raises(MistakeError, match=rf"critic\.model_name: no critic can be made .* of type {kind}"):
        load_token_values(tmp_path, POLICY, world.device)


def test_a_folder_that_lacks_weights_is_refused(world: World, folder: Path, tmp_path: Path) -> None:
    model = policy()
    weights = {name: tensor for name, tensor in model.state_dict().items() if "layers.1." not in name}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(MistakeError, match=r"lacks 12 of the model's weights, first model\.layers\.1\.input_layernorm"):
        load_token_values(tmp_path, POLICY, world.device)
