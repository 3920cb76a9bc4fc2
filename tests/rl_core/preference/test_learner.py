"""The reward model in training: scores as transformers gives them, gradients as float64 does, what is trained."""

from dataclasses import replace
from pathlib import Path

import deepspeed
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rl_core.config.models import LoraConfig, PolicyConfig
from rl_core.errors import MistakeError
from rl_core.models.sequence_scores import load_sequence_scores
from rl_core.preference.batching import PairBatch, pair_batches
from rl_core.preference.learner import RewardLearner
from rl_core.rollout.fingerprint import tensor_fingerprint
from rl_core.training.grouping import Layout
from rl_core.training.partitions import read_moment
from rl_core.world import World
from tests.rl_core.preference.tiny_pairs import fixed_pairs, new_reward_learner, new_scores

# Each pair alone, some together, all together; in buckets and end to end.
LAYOUTS = [Layout(tokens, packed=packed) for tokens in (1, 90, 10_000) for packed in (False, True)]
ROUNDING = {"rtol": 1e-4, "atol": 1e-6}  # float32, sums in another order
OF_THE_LARGEST = 1e-4  # of a parameter's gradients, where they cancel each other
CENTERING = 0.3


def batches_of(layout: Layout, world: World) -> list[PairBatch]:
    return pair_batches(fixed_pairs(), layout, rank=0, num_ranks=1, device=world.device)


def plain_scores(learner: RewardLearner, dtype: torch.dtype = torch.float32) -> tuple[torch.nn.Module, torch.Tensor]:
    """The classifier of transformers with these weights, one unpadded sequence at a time, and its scores [P, 2]."""
    classifier = new_scores(learner.world).classifier.to(dtype)
    classifier.load_state_dict({name: value.to(dtype) for name, value in learner.named_parameters()})
    scores = [
        [classifier(torch.tensor([ids])).logits[0, 0] for ids in (pair.chosen_ids, pair.rejected_ids)]
        for pair in fixed_pairs()
    ]
    return classifier, torch.stack([torch.stack(pair) for pair in scores])


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_score_is_what_transformers_says_however_pairs_are_laid_out(world: World, layout: Layout) -> None:
    learner = new_reward_learner(world)
    _, expected = plain_scores(learner)
    batches = batches_of(layout, world)
    assert len(batches) > 1 or layout.max_tokens == 10_000
    found = dict.fromkeys(range(5), torch.empty(0))
    for batch, scores in zip(batches, learner.scores(batches), strict=True):
        found.update(zip(batch.places, scores, strict=True))
    torch.testing.assert_close(torch.stack(list(found.values())), expected.detach(), **ROUNDING)


@pytest.mark.parametrize("centering", [0.0, CENTERING])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_gradient_is_that_of_the_loss_written_out_in_float64(
    world: World, layout: Layout, centering: float
) -> None:
    learner = new_reward_learner(world)
    learner.set_learning_rate(0.0)
    classifier, scores = plain_scores(learner, torch.float64)
    chosen, rejected = scores.unbind(dim=1)
    loss = (torch.log1p(torch.exp(rejected - chosen)) + centering * (chosen + rejected) ** 2).mean()
    loss.backward()
    update = learner.update(batches_of(layout, world), centering)
    assert update.loss == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in learner.named_parameters():
        expected = classifier.get_parameter(name).grad
        assert expected is not None
        rounding = OF_THE_LARGEST * float(expected.abs().max())
        torch.testing.assert_close(
            read_moment(learner, parameter, "exp_avg"), expected.float(), rtol=ROUNDING["rtol"], atol=rounding
        )


def test_a_pair_without_weight_has_no_gradient(world: World) -> None:
    learner = new_reward_learner(world)
    (batch,) = batches_of(LAYOUTS[-1], world)
    assert learner.update([replace(batch, weights=torch.zeros_like(batch.weights))], CENTERING).grad_norm == 0


def test_the_parts_of_all_ranks_are_every_pair_once_and_as_many_passes_each(world: World) -> None:
    shares = [pair_batches(fixed_pairs(), Layout(90), rank=rank, num_ranks=4, device=world.device) for rank in range(4)]
    assert len({len(share) for share in shares}) == 1
    places = [place for share in shares for batch in share for place in batch.places]
    assert sorted(places) == list(range(5))
    assert sum(float(batch.weights.sum()) for share in shares for batch in share) == pytest.approx(1.0)


def test_a_new_model_says_zero_of_everything_whatever_the_seed_and_the_head_moves_first(world: World) -> None:
    learner = new_reward_learner(world, lora=LoraConfig(rank=3), head=False, seed=7)
    batches = batches_of(LAYOUTS[0], world)
    assert {float(value) for scores in learner.scores(batches) for value in scores.flatten()} == {0.0}
    before = {name: parameter.detach().clone() for name, parameter in learner.named_parameters()}
    update = learner.update(batches, 0.0)
    assert update.loss == pytest.approx(torch.log(torch.tensor(2.0)).item())
    moved = [name for name, value in learner.named_parameters() if not torch.equal(value, before[name])]
    assert moved == ["score.weight"]


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_with_an_adapter_the_adapter_and_the_head_alone_are_trained(world: World, zero_stage: int) -> None:
    learner = new_reward_learner(world, zero_stage, lora=LoraConfig(rank=3))
    names = [name for name, _ in learner.named_parameters()]
    assert [name for name in names if "lora" not in name] == ["score.weight"]
    assert len(names) == 1 + 2 * 14  # A and B of the seven linear layers of two layers

    def digests(trained: bool) -> dict[str, int]:
        parameters = dict(learner.named_parameters(trained=trained))
        with deepspeed.zero.GatheredParameters(list(parameters.values()), enabled=zero_stage == 3):
            return {name: tensor_fingerprint(parameter.detach()) for name, parameter in parameters.items()}

    trained, frozen = digests(True), digests(False)
    assert frozen
    for _ in range(2):  # in the first A has no gradient, since B is zero
        learner.update(batches_of(LAYOUTS[1], world), 0.0)
    assert digests(False) == frozen
    after = digests(True)
    assert [name for name in names if after[name] == trained[name]] == []


def test_training_pulls_the_scores_of_a_pair_apart(world: World) -> None:
    learner = new_reward_learner(world, lora=LoraConfig(rank=8), head=False)
    batches = batches_of(LAYOUTS[-1], world)
    losses = [learner.update(batches, 0.0).loss for _ in range(40)]
    assert losses[-1] < 0.05 < losses[0]


def test_a_model_without_a_sequence_classifier_of_the_usual_build_is_refused(world: World, tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=31)).save_pretrained(tmp_path)
    settings = PolicyConfig(model_name="tiny")
    with pytest.raises(MistakeError, match=r"policy\.model_name: no reward model can be made of .* of type gpt2"):
        load_sequence_scores(tmp_path, settings, world.device, lora=None)


def test_an_adapter_on_a_layer_that_is_not_there_is_told_by_its_own_field(world: World) -> None:
    with pytest.raises(MistakeError, match=r"reward_model\.lora\.target_modules: query: the model has .*q_proj"):
        new_reward_learner(world, lora=LoraConfig(target_modules=("query",)))
