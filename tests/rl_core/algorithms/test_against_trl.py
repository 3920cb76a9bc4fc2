"""TRL's GRPO losses on tensors that ours are given too: equal where the definitions are; where they are not, why.

TRL's trainer is a real one, around a tiny model in a temporary folder. Only its forward pass is replaced, by
log-probabilities on both sides of every bound; the loss is its own code. docs/algorithms.md tells the findings.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from rl_core.algorithms.advantages import group_relative
from rl_core.algorithms.aggregation import Aggregation, token_weights
from rl_core.algorithms.divergences import KlEstimator, kl
from rl_core.algorithms.objectives import cispo, clipped_surrogate, gspo
from tests.rl_core.tiny import tiny_qwen2

pytest.importorskip("trl", reason="compares with TRL, which is not installed here")

VERSION = "1.16.0"  # whose definitions are compared
EQUAL = {"rtol": 1e-6, "atol": 1e-6}
LIMIT = 8  # of response tokens, TRL's constant in dr_grpo
LOW, HIGH, DUAL, BETA = 0.2, 0.3, 2.0, 0.1
LENGTHS = torch.tensor([3, 8, 1, 5])
BOUNDS = {"clip_low": LOW, "clip_high": HIGH}

Trainer = Any  # trl.GRPOTrainer; TRL is imported in a fixture, without vLLM
NewTrainer = Callable[..., Trainer]


@pytest.fixture(scope="module")
def new_trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewTrainer]:
    """Makes a GRPOTrainer with other settings than this module's."""
    # Accelerate, below TRL, leaves in the environment what torchrun would set: later tests' processes would believe it.
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ):
        # TRL would import vLLM where it finds it: many seconds, for nothing that is used here.
        patch.setattr(import_module("trl.import_utils"), "is_vllm_available", lambda *_, **__: False)
        from datasets import Dataset
        from transformers import PreTrainedTokenizerFast
        from trl import GRPOConfig, GRPOTrainer, __version__

        assert __version__ == VERSION, "another version may define its losses otherwise: read it, then say so here"
        folder = tmp_path_factory.mktemp("trl")
        tiny_qwen2().save_pretrained(folder / "model")

        def make(reward: Callable[..., list[float | None]] | None = None, **settings: Any) -> Trainer:
            trainer = GRPOTrainer(
                model=str(folder / "model"),
                reward_funcs=reward or (lambda completions, **_: [0.0] * len(completions)),
                args=GRPOConfig(**_settings(folder / "out") | settings),
                train_dataset=Dataset.from_dict({"prompt": ["7 8 9"]}),
                processing_class=PreTrainedTokenizerFast(
                    tokenizer_object=_tokenizer(), pad_token="0", eos_token="1", unk_token="2", padding_side="left"
                ),
            )
            trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
            trainer.model.train()
            return trainer

        yield make


def _settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": len(LENGTHS),
        "num_generations": len(LENGTHS),
        "max_completion_length": LIMIT,
        "epsilon": LOW,
        "epsilon_high": HIGH,
        "model_init_kwargs": {"dtype": "float32"},
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": "none",
        "logging_strategy": "no",
    }


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({str(token): token for token in range(53)}, unk_token="2"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


@dataclass(frozen=True)
class Tokens:
    """Responses laid end to end."""

    lengths: torch.Tensor
    policy: torch.Tensor
    old: torch.Tensor
    ref: torch.Tensor
    advantages: torch.Tensor  # of each response

    @property
    def by_token(self) -> torch.Tensor:
        return self.advantages.repeat_interleave(self.lengths)

    def of(self, rows: Sequence[int]) -> "Tokens":
        """Some of the responses."""
        chosen = [[tensor.split(self.lengths.tolist())[row] for row in rows] for tensor in self._token_tensors]
        return Tokens(self.lengths[rows], *(torch.cat(parts) for parts in chosen), self.advantages[rows])

    @property
    def _token_tensors(self) -> tuple[torch.Tensor, ...]:
        return self.policy, self.old, self.ref


def some_tokens() -> Tokens:
    """In float64; ratios and mean ratios on both sides of every bound, for both signs of the advantage."""
    generator = torch.Generator().manual_seed(5)
    old, noise, ref_noise = torch.randn(3, int(LENGTHS.sum()), generator=generator, dtype=torch.float64)
    shift = torch.tensor([0.5, -0.1, 1.2, -0.6], dtype=torch.float64).repeat_interleave(LENGTHS)
    advantages = torch.tensor([1.5, 0.3, -1.0, -0.8], dtype=torch.float64)
    return Tokens(LENGTHS, old + shift + 0.4 * noise, old, old + 0.5 * ref_noise, advantages)


def trl_loss(trainer: Trainer, tokens: Tokens, *, num_items: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """TRL's loss of one micro-batch, and its gradient by the policy's log-probabilities [N]."""
    lengths = tokens.lengths
    mask = torch.arange(LIMIT) < lengths[:, None]

    def padded(values: torch.Tensor) -> torch.Tensor:
        return torch.zeros(mask.shape, dtype=values.dtype).masked_scatter(mask, values)

    policy = padded(tokens.policy).requires_grad_()
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (policy, torch.zeros_like(policy), None)
    inputs = {
        "prompt_ids": torch.full((len(lengths), 2), 7),
        "prompt_mask": torch.ones(len(lengths), 2, dtype=torch.long),
        "completion_ids": mask.long() * 9,
        "completion_mask": mask.long(),
        "advantages": tokens.advantages,
        "old_per_token_logps": padded(tokens.old),
        "ref_per_token_logps": padded(tokens.ref),
        "num_items_in_batch": torch.tensor(float(lengths.sum()) if num_items is None else num_items),
    }
    loss = trainer.compute_loss(trainer.model, inputs)
    (gradient,) = torch.autograd.grad(loss, policy)
    return loss.detach(), gradient[mask]


Objective = Callable[[Tokens, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def our_loss(
    tokens: Tokens,
    objective: Objective,
    aggregation: Aggregation,
    *,
    beta: float = 0.0,
    estimator: KlEstimator = "k3",
    of: Tokens | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ours of the same micro-batch, which is the whole update or a part of it."""
    whole = of or tokens
    weights = token_weights(
        tokens.lengths,
        aggregation,
        num_tokens=float(whole.lengths.sum()),
        num_sequences=len(whole.lengths),
        normalizer_tokens=LIMIT,
    )
    policy = tokens.policy.clone().requires_grad_()
    losses = objective(tokens, policy)[0] + beta * kl(policy, tokens.ref, estimator)
    loss = (losses * weights.double().repeat_interleave(tokens.lengths)).sum()
    return loss.detach(), torch.autograd.grad(loss, policy)[0]


def by_token(tokens: Tokens, policy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return clipped_surrogate(policy, tokens.old, tokens.by_token, **BOUNDS)


def by_token_dual(tokens: Tokens, policy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return clipped_surrogate(policy, tokens.old, tokens.by_token, **BOUNDS, dual_clip=DUAL)


def by_response(tokens: Tokens, policy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return gspo(policy, tokens.old, tokens.by_token, tokens.lengths, **BOUNDS)


def by_response_dual(tokens: Tokens, policy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return gspo(policy, tokens.old, tokens.by_token, tokens.lengths, **BOUNDS, dual_clip=DUAL)


def by_weight(tokens: Tokens, policy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return cispo(policy, tokens.old, tokens.by_token, clip_low=1.0, clip_high=HIGH)


SEQUENCE = {"importance_sampling_level": "sequence"}
PLAIN_KL = {"beta": BETA, "use_bias_correction_kl": False}
SAME: dict[str, tuple[dict[str, Any], Objective, Aggregation, float]] = {
    "grpo": ({"loss_type": "grpo"}, by_token, "sequence_mean_token_mean", 0.0),
    "grpo, beta": ({"loss_type": "grpo", **PLAIN_KL}, by_token, "sequence_mean_token_mean", BETA),
    "grpo, delta": ({"loss_type": "grpo", "delta": DUAL}, by_token_dual, "sequence_mean_token_mean", 0.0),
    "grpo, sequence": ({"loss_type": "grpo", **SEQUENCE}, by_response, "sequence_mean_token_mean", 0.0),
    "grpo, sequence, delta": (
        {"loss_type": "grpo", "delta": DUAL, **SEQUENCE},
        by_response_dual,
        "sequence_mean_token_mean",
        0.0,
    ),
    "bnpo": ({"loss_type": "bnpo"}, by_token, "token_mean", 0.0),
    "bnpo, beta": ({"loss_type": "bnpo", **PLAIN_KL}, by_token, "token_mean", BETA),
    "bnpo, sequence": ({"loss_type": "bnpo", **SEQUENCE}, by_response, "token_mean", 0.0),
    "dapo": ({"loss_type": "dapo"}, by_token, "token_mean", 0.0),
    "dapo, beta, delta": ({"loss_type": "dapo", "delta": DUAL, **PLAIN_KL}, by_token_dual, "token_mean", BETA),
    "dr_grpo": ({"loss_type": "dr_grpo"}, by_token, "sequence_mean_token_sum_norm", 0.0),
    "dr_grpo, sequence": ({"loss_type": "dr_grpo", **SEQUENCE}, by_response, "sequence_mean_token_sum_norm", 0.0),
    "luspo": ({"loss_type": "luspo", **SEQUENCE}, by_response, "sequence_mean_token_sum", 0.0),
    "cispo": ({"loss_type": "cispo", "epsilon_high": 1 + HIGH}, by_weight, "token_mean", 0.0),
}


@pytest.mark.parametrize("name", SAME)
def test_loss_and_gradient_are_the_same_where_the_definitions_are(name: str, new_trainer: NewTrainer) -> None:
    settings, objective, aggregation, beta = SAME[name]
    tokens = some_tokens()
    ours = our_loss(tokens, objective, aggregation, beta=beta)
    torch.testing.assert_close(ours, trl_loss(new_trainer(**settings), tokens), **EQUAL)
    assert 0 < int(objective(tokens, tokens.policy)[1].sum()) < len(tokens.policy), "both branches are taken"


# Two responses at a time, of eleven and six tokens.
HALVES = ([0, 1], [2, 3])


def in_halves(trainer: Trainer, tokens: Tokens, num_items: float | None = None) -> torch.Tensor:
    return torch.cat([trl_loss(trainer, tokens.of(half), num_items=num_items)[1] for half in HALVES])


@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo", "cispo"])
def test_split_into_micro_batches_the_gradient_is_still_the_same(name: str, new_trainer: NewTrainer) -> None:
    settings, objective, aggregation, _ = SAME[name]
    tokens = some_tokens()
    trainer = new_trainer(**settings, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    theirs = in_halves(trainer, tokens, num_items=float(LENGTHS.sum()))
    torch.testing.assert_close(our_loss(tokens, objective, aggregation)[1], theirs, **EQUAL)
    ours = [our_loss(tokens.of(half), objective, aggregation, of=tokens)[1] for half in HALVES]
    torch.testing.assert_close(torch.cat(ours), theirs, **EQUAL)


def test_bnpo_means_over_each_micro_batch_and_then_over_those_ours_over_the_update(new_trainer: NewTrainer) -> None:
    tokens = some_tokens()
    trainer = new_trainer(loss_type="bnpo", per_device_train_batch_size=2, gradient_accumulation_steps=2)
    ours = our_loss(tokens, by_token, "token_mean")[1].split([11, 6])
    theirs = in_halves(trainer, tokens).split([11, 6])
    torch.testing.assert_close(theirs[0], ours[0] * 17 / (2 * 11), **EQUAL)
    torch.testing.assert_close(theirs[1], ours[1] * 17 / (2 * 6), **EQUAL)


def test_dapo_divides_each_update_by_the_mean_over_a_steps_updates_ours_by_its_own_tokens(
    new_trainer: NewTrainer,
) -> None:
    tokens = some_tokens()
    trainer = new_trainer(loss_type="dapo", per_device_train_batch_size=2, steps_per_generation=2)
    theirs = in_halves(trainer, tokens, num_items=float(LENGTHS.sum())).split([11, 6])
    for half, own_tokens, their in zip(HALVES, (11, 6), theirs, strict=True):
        ours = our_loss(tokens.of(half), by_token, "token_mean")[1]
        torch.testing.assert_close(their, ours * own_tokens / (17 / 2), **EQUAL)


def test_at_ratio_one_their_corrected_divergence_is_our_k3_plus(new_trainer: NewTrainer) -> None:
    tokens = some_tokens()
    tokens = replace(tokens, policy=tokens.old)
    theirs = trl_loss(new_trainer(loss_type="dapo", beta=BETA), tokens)
    torch.testing.assert_close(our_loss(tokens, by_token, "token_mean", beta=BETA, estimator="k3+"), theirs, **EQUAL)


def test_elsewhere_they_weigh_the_divergence_by_the_ratio_and_we_do_not(new_trainer: NewTrainer) -> None:
    moved = one_token(0.5, ref=0.0, advantage=0.0)
    their_loss, theirs = trl_loss(new_trainer(loss_type="dapo", beta=1.0), moved)
    loss, ours = our_loss(moved, by_token, "token_mean", beta=1.0, estimator="k3+")
    value, ratio = math.exp(-0.5) - 1 + 0.5, math.exp(0.5)
    assert (loss.item(), ours.item()) == (pytest.approx(value), pytest.approx(0.5))
    assert (their_loss.item(), theirs.item()) == (pytest.approx(ratio * value), pytest.approx(ratio * 0.5))


def one_token(policy: float, *, ref: float = 0.0, advantage: float = 1.0, dtype: torch.dtype = torch.float64) -> Tokens:
    """A response of one token, which the old policy was certain of."""
    values = [torch.tensor([number], dtype=dtype) for number in (policy, 0.0, ref, advantage)]
    return Tokens(torch.tensor([1]), *values)


def test_delta_below_the_upper_bound_also_binds_good_responses_our_dual_clip_never_does(
    new_trainer: NewTrainer,
) -> None:
    good = one_token(math.log(1.25))
    _, theirs = trl_loss(new_trainer(loss_type="grpo", delta=1.1), good)
    policy = good.policy.clone().requires_grad_()
    loss, _ = clipped_surrogate(policy, good.old, good.by_token, **BOUNDS, dual_clip=1.1)
    (ours,) = torch.autograd.grad(loss.sum(), policy)
    assert (theirs.item(), ours.item()) == (0.0, pytest.approx(-1.25))


def test_their_divergence_has_no_bound_ours_stops_at_ten(new_trainer: NewTrainer) -> None:
    far = one_token(0.0, ref=5.0, advantage=0.0)
    their_loss, theirs = trl_loss(new_trainer(loss_type="grpo", beta=1.0, use_bias_correction_kl=False), far)
    loss, ours = our_loss(far, by_token, "token_mean", beta=1.0)
    assert (their_loss.item(), theirs.item()) == (pytest.approx(math.exp(5) - 6), pytest.approx(1 - math.exp(5)))
    assert (loss.item(), ours.item()) == (10.0, 0.0)


def test_a_ratio_that_overflows_gives_them_a_gradient_of_nan_and_us_none(new_trainer: NewTrainer) -> None:
    wild = one_token(100.0, dtype=torch.float32)
    assert trl_loss(new_trainer(loss_type="grpo"), wild)[1].isnan().all()
    assert our_loss(wild, by_token, "token_mean")[1].item() == 0


def test_their_cispo_bounds_the_weight_from_above_alone_ours_on_both_sides_unless_clip_low_is_one(
    new_trainer: NewTrainer,
) -> None:
    rare = one_token(math.log(0.1))
    _, theirs = trl_loss(new_trainer(loss_type="cispo", epsilon_high=1 + HIGH), rare)
    policy = rare.policy.clone().requires_grad_()
    ours = [
        torch.autograd.grad(cispo(policy, rare.old, rare.by_token, clip_low=low, clip_high=HIGH)[0].sum(), policy)[0]
        for low in (LOW, 1.0)
    ]
    assert theirs.item() == pytest.approx(-0.1)
    assert [gradient.item() for gradient in ours] == pytest.approx([-0.8, -0.1])


REWARDS: list[float | None] = [1.0, 0.0, 0.5, None]  # None is what TRL calls unscorable


@pytest.mark.parametrize(("scale_rewards", "added"), [("none", None), ("group", 1e-4)])
def test_their_advantages_are_ours_but_for_what_they_add_to_the_spread(
    scale_rewards: str, added: float | None, new_trainer: NewTrainer
) -> None:
    trainer = new_trainer(lambda completions, **_: REWARDS, scale_rewards=scale_rewards)
    theirs = trainer._generate_and_score_completions([{"prompt": "7 8 9"}] * 4)["advantages"]
    rewards = torch.tensor([[math.nan if reward is None else reward for reward in REWARDS]])
    ours = group_relative(rewards, "group_mean", "none" if added is None else "group_std")[0]
    if added is not None:
        ours = ours * 0.5 / (0.5 + added)  # the spread of 1, 0 and 1/2
    torch.testing.assert_close(theirs, ours, **EQUAL)


def test_with_their_own_forward_pass_the_models_gradient_is_the_same(new_trainer: NewTrainer) -> None:
    trainer = new_trainer(loss_type="dapo")
    prompt, response = torch.tensor([[7, 8, 9], [11, 12, 13]]), torch.tensor([[20, 21, 22, 1], [30, 1, 0, 0]])
    mask, advantages = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]), torch.tensor([1.0, -0.5])
    generator = torch.Generator().manual_seed(4)
    old = -4 + 0.3 * torch.randn(2, 4, generator=generator)
    inputs = {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": response,
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": old,
        "num_items_in_batch": mask.sum().float(),
    }
    theirs = torch.autograd.grad(trainer.compute_loss(trainer.model, inputs), list(trainer.model.parameters()))

    model = tiny_qwen2().train()
    logits = model(torch.cat([prompt, response], dim=1)).logits[:, 2:-1]
    logprobs = logits.log_softmax(-1).gather(-1, response[..., None])[..., 0]
    chosen = mask.bool()
    losses, _ = clipped_surrogate(logprobs[chosen], old[chosen], advantages.repeat_interleave(mask.sum(1)), **BOUNDS)
    ours = torch.autograd.grad(losses.sum() / chosen.sum(), list(model.parameters()))
    assert any(gradient.any() for gradient in ours)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
