"""The supervised loss against values by hand, against transformers' own loss, and however the batch is laid out."""

import math
from collections.abc import Sequence

import pytest
import torch

from rl_core.config.models import OptimizerConfig
from rl_core.supervised.loss import negative_log_likelihood, weighted_alike
from rl_core.training.batching import Sample, micro_batches
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.world import World
from tests.rl_core.supervised.answers import ANSWERS, update
from tests.rl_core.training.formulas import assert_gradient, still_learner
from tests.rl_core.training.tiny_training import new_learner, policy

# Each sequence alone, some together, all together; in buckets and end to end.
LAYOUTS = [Layout(tokens, packed=packed) for tokens in (1, 40, 10_000) for packed in (False, True)]


@pytest.fixture(scope="module")
def learner(world: World) -> Learner:
    """Of learning rate zero: every update starts from the same weights."""
    return still_learner(world, 0)


def test_the_loss_is_the_mean_over_response_tokens_of_all_rows_and_not_of_rows() -> None:
    samples = weighted_alike([Sample((5, 6), (7,), (), 0.0), Sample((5,), (6, 7, 8), (), 0.0)])
    (batch,) = micro_batches(samples, Layout(100, packed=True), rank=0, num_ranks=1, device=torch.device("cpu"))
    logprobs = torch.log(
        torch.tensor([0.5, 0.25, 0.125, 0.5])
    )  # longest first: three of the second row, one of the first
    assert float(negative_log_likelihood(batch, logprobs)) == pytest.approx((1 + 2 + 3 + 1) * math.log(2) / 4)


def test_loss_and_gradient_are_those_of_transformers_over_labels_however_the_batch_is_laid_out(
    learner: Learner,
) -> None:
    loss, expected = of_transformers(ANSWERS)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm().item()
    for layout in LAYOUTS:
        done = update(learner, ANSWERS, layout)
        assert done.loss == pytest.approx(loss, rel=1e-5)
        assert done.grad_norm == pytest.approx(norm, rel=1e-4)
        assert_gradient(learner, expected)


def test_every_response_token_is_learned_the_one_that_ends_it_included_and_none_of_a_prompt(learner: Learner) -> None:
    of_ends = update(learner, [ends_only(answer) for answer in ANSWERS], Layout(10_000)).loss * len(ANSWERS)
    without_end = [Sample(a.prompt_ids, a.response_ids[:-1], (), 0.0) for a in ANSWERS if len(a.response_ids) > 1]
    of_rest = update(learner, without_end, Layout(10_000)).loss * num_tokens(without_end)
    assert update(learner, ANSWERS, Layout(10_000)).loss * num_tokens(ANSWERS) == pytest.approx(of_ends + of_rest)


def ends_only(answer: Sample) -> Sample:
    """The last token of a response alone, all before it as its prompt."""
    return Sample((*answer.prompt_ids, *answer.response_ids[:-1]), answer.response_ids[-1:], (), 0.0)


def num_tokens(samples: Sequence[Sample]) -> int:
    return sum(len(sample.response_ids) for sample in samples)


def test_updates_lower_the_loss(world: World) -> None:
    learner = new_learner(world, 1, optimizer=OptimizerConfig(learning_rate=1e-2))
    losses = [update(learner, ANSWERS, Layout(64)).loss for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


def of_transformers(samples: Sequence[Sample]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of the model's own loss, with -100 on prompts and the tokens of all rows as denominator."""
    model = policy()
    num_items = sum(len(sample.response_ids) for sample in samples)
    total = 0.0
    for sample in samples:
        tokens = torch.tensor([[*sample.prompt_ids, *sample.response_ids]])
        labels = tokens.clone()
        labels[0, : len(sample.prompt_ids)] = -100
        loss = model(input_ids=tokens, labels=labels, num_items_in_batch=num_items).loss
        loss.backward()
        total += float(loss.detach())
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return total, gradients
