"""The advantage of each token, as loops over plain numbers give it, however responses are ordered and laid out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev, variance

import pytest
import torch

from rl_core.config import AlgorithmConfig
from rl_core.rollout.collect import Rollout
from rl_core.training.batching import MicroBatch
from rl_core.training.critic import Critic
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.reference import ReferencePolicy
from rl_core.training.samples import samples_of
from rl_core.training.step import StepTrainer
from rl_core.world import World
from tests.rl_core.training.formulas import logprobs_and_entropies, still_learner
from tests.rl_core.training.tiny_training import (
    CUT_OFF,
    NUM_SAMPLES,
    REWARDS,
    TEMPERATURE,
    first_policy,
    fixed_rollouts,
    new_critic,
    policy,
    reference_of,
)

ROUNDING = {"rel": 1e-4, "abs": 1e-5}  # of float32
LAYOUTS = [Layout(tokens, packed=packed) for tokens in (1, 50, 10_000) for packed in (False, True)]
# Of responses within their groups. An update takes six of them: the second group is in two updates.
ORDERS = {"as sampled": tuple(range(12)), "otherwise": (2, 0, 3, 1, 7, 6, 5, 4, 9, 11, 8, 10)}
KL_COEFFICIENT = 0.25  # as it stands in the step; the recipe's own is another
IN_REWARD = {"kl_coefficient": 0.1, "kl_in": "reward", "kl_estimator": "k1"}
PPO = {"baseline": "critic", "scale": "none", "gae_lambda": 0.9, "discount": 0.95, "whiten": True, **IN_REWARD}
RLOO = {"baseline": "leave_one_out", "scale": "none", **IN_REWARD}

Tokens = dict[int, list[float]]  # by the response's index, a number for each of its tokens


@dataclass(frozen=True)
class Parts:
    """What a step is made with; no weight changes here."""

    learner: Learner
    reference: ReferencePolicy
    critic: Critic


@dataclass(frozen=True)
class Known:
    """What is known of the tokens of the fixed responses."""

    lengths: list[int]
    divergences: Tokens  # from the reference, k1 and k3
    k3: Tokens
    values: Tokens


@pytest.fixture(scope="module")
def parts(world: World) -> Parts:
    return Parts(still_learner(world, 0), reference_of(world, 0), new_critic(world, 0))


@pytest.fixture(scope="module")
def known(parts: Parts) -> Known:
    own, other = policy(), first_policy()
    classifier = parts.critic.engine.module.token_classifier.eval()
    k1, k3, values = {}, {}, {}
    with torch.no_grad():
        for index, rollout in enumerate(fixed_rollouts()):
            difference = logprobs_and_entropies(own, rollout)[0] - logprobs_and_entropies(other, rollout)[0]
            k1[index], k3[index] = difference.tolist(), ((-difference).exp() + difference - 1).tolist()
            prompt, response = rollout.problem.prompt_ids, rollout.completion.token_ids
            logits = classifier(torch.tensor([[*prompt, *response]])).logits
            values[index] = logits[0, len(prompt) - 1 : -1, 0].tolist()
    return Known([len(rollout.completion.token_ids) for rollout in fixed_rollouts()], k1, k3, values)


def algorithm_of(settings: dict[str, object]) -> AlgorithmConfig:
    return AlgorithmConfig.model_validate({"minibatch_sequences": 6, **settings})


def prepared(
    parts: Parts, algorithm: AlgorithmConfig, order: Sequence[int] = ORDERS["as sampled"], layout: Layout = LAYOUTS[2]
) -> list[list[MicroBatch]]:
    trainer = StepTrainer(
        parts.learner,
        parts.reference if algorithm.needs_reference else None,
        algorithm,
        num_samples=NUM_SAMPLES,
        temperature=TEMPERATURE,
        layout=layout,
        critic=parts.critic if algorithm.baseline == "critic" else None,
    )
    trainer.kl_coefficient = KL_COEFFICIENT
    rollouts: list[Rollout] = [fixed_rollouts()[index] for index in order]
    return trainer.prepared(samples_of(rollouts, NUM_SAMPLES, algorithm), Figures())


def by_response(
    updates: list[list[MicroBatch]], order: Sequence[int], of: Callable[[MicroBatch], torch.Tensor | None]
) -> Tokens:
    """What micro-batches hold for each token, by the response's index; nothing for responses left out of them."""
    found: Tokens = {}
    for batch in (batch for update in updates for batch in update):
        values = of(batch)
        assert values is not None
        for row, own in zip(batch.rows, values.split(batch.response_lengths.tolist()), strict=True):
            found[order[row]] = own.tolist()
    return found


def token_rewards(algorithm: AlgorithmConfig, known: Known, index: int) -> list[float]:
    """The reward at the last token, the penalty on each."""
    divergences = (known.k3 if algorithm.kl_estimator == "k3" else known.divergences)[index]
    rewards = [0.0 - (KL_COEFFICIENT * divergence if algorithm.needs_reference else 0.0) for divergence in divergences]
    rewards[-1] += REWARDS[index] or 0.0
    return rewards


def rewards_to_go(rewards: list[float], discount: float) -> list[float]:
    returns = list(rewards)
    for token in reversed(range(len(rewards) - 1)):
        returns[token] += discount * returns[token + 1]
    return returns


def advantages_by_values(rewards: list[float], values: list[float], discount: float, decay: float) -> list[float]:
    """The sum over k of (discount decay)^k times the temporal difference k tokens on."""
    after = [*values[1:], 0.0]
    differences = [r + discount * v_after - v for r, v, v_after in zip(rewards, values, after, strict=True)]
    count = len(rewards)
    return [sum((discount * decay) ** (k - t) * differences[k] for k in range(t, count)) for t in range(count)]


def compared_in_group(algorithm: AlgorithmConfig, known: Known, index: int) -> float:
    def total(member: int) -> float:
        return sum(token_rewards(algorithm, known, member))

    start = index // NUM_SAMPLES * NUM_SAMPLES
    scored = [member for member in range(start, start + NUM_SAMPLES) if REWARDS[member] is not None]
    totals = [total(member) for member in scored]
    if max(totals) == min(totals):
        return 0.0
    others = [total(member) for member in scored if member != index]
    baseline = fmean(others if algorithm.baseline == "leave_one_out" else totals)
    return (total(index) - baseline) / (stdev(totals) if algorithm.scale == "group_std" else 1.0)


def whitened(tokens: Tokens) -> Tokens:
    every = [value for values in tokens.values() for value in values]
    mean, spread = fmean(every), sqrt(variance(every) + 1e-8)
    return {index: [(value - mean) / spread for value in values] for index, values in tokens.items()}


def written_out(algorithm: AlgorithmConfig, known: Known) -> Tokens:
    """Of the scored responses."""
    advantages: Tokens = {}
    for index in (index for index, reward in enumerate(REWARDS) if reward is not None):
        rewards = token_rewards(algorithm, known, index)
        if algorithm.baseline == "critic":
            values = known.values[index]
            advantages[index] = advantages_by_values(rewards, values, algorithm.discount, algorithm.gae_lambda)
        elif algorithm.baseline == "none":
            advantages[index] = rewards_to_go(rewards, algorithm.discount)
        else:
            advantages[index] = [compared_in_group(algorithm, known, index)] * known.lengths[index]
    return whitened(advantages) if algorithm.whiten else advantages


ALGORITHMS: dict[str, dict[str, object]] = {
    "PPO": PPO,
    "PPO of returns": {"baseline": "critic", "scale": "none"},
    "REINFORCE": {"baseline": "none", "scale": "none"},
    "REINFORCE++": {"baseline": "none", "scale": "none", "discount": 0.9, "whiten": True, **IN_REWARD},
    "REINFORCE++ baseline": {"scale": "none", "whiten": True},
    "RLOO": RLOO,
    "RLOO with k3": {**RLOO, "kl_estimator": "k3"},
    "GRPO": {},
    "GRPO with the divergence in the reward": {"whiten": True, **IN_REWARD},
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_token_has_the_advantage_that_a_loop_gives(parts: Parts, known: Known, name: str, order: str) -> None:
    algorithm = algorithm_of(ALGORITHMS[name])
    expected = written_out(algorithm, known)
    assert len({value for values in expected.values() for value in values}) > 1
    for layout in LAYOUTS:
        updates = prepared(parts, algorithm, ORDERS[order], layout)
        got = by_response(updates, ORDERS[order], lambda batch: batch.advantages)
        for index, length in enumerate(known.lengths):
            # What is unscored has nothing to teach; what has nothing to teach may be left out.
            wanted = expected.get(index, [0.0] * length)
            assert got.get(index, [0.0] * length) == pytest.approx(wanted, **ROUNDING), f"{index} in {layout}"


@pytest.mark.parametrize("order", ORDERS)
def test_a_critic_learns_advantage_plus_value_before_whitening(parts: Parts, known: Known, order: str) -> None:
    algorithm = algorithm_of(PPO)
    plain = written_out(algorithm.model_copy(update={"whiten": False}), known)
    for layout in LAYOUTS:
        updates = prepared(parts, algorithm, ORDERS[order], layout)
        returns = by_response(updates, ORDERS[order], lambda batch: batch.returns)
        for index, advantages in plain.items():
            wanted = [a + value for a, value in zip(advantages, known.values[index], strict=True)]
            assert returns[index] == pytest.approx(wanted, **ROUNDING), f"{index} in {layout}"


@pytest.mark.parametrize("filtered", [False, True])
def test_in_the_critics_loss_every_scored_and_trained_token_of_an_update_weighs_alike(
    parts: Parts, known: Known, filtered: bool
) -> None:
    algorithm = algorithm_of({**PPO, "overlong_filtering": filtered})
    out = {index for index, reward in enumerate(REWARDS) if reward is None} | (set(CUT_OFF) if filtered else set())
    for layout in LAYOUTS:
        updates = prepared(parts, algorithm, layout=layout)
        for first, update in zip((0, 6), updates, strict=True):
            count = sum(known.lengths[index] for index in range(first, first + 6) if index not in out)
            for index, weights in by_response([update], ORDERS["as sampled"], lambda b: b.value_weights).items():
                wanted = 0.0 if index in out else 1 / count
                assert weights == pytest.approx([wanted] * known.lengths[index]), index


def test_figures_of_the_critic_and_the_divergence_are_of_scored_tokens(parts: Parts, known: Known) -> None:
    figures = Figures()
    algorithm = algorithm_of(PPO)
    trainer = StepTrainer(
        parts.learner,
        parts.reference,
        algorithm,
        num_samples=NUM_SAMPLES,
        temperature=TEMPERATURE,
        layout=LAYOUTS[2],
        critic=parts.critic,
    )
    trainer.prepared(samples_of(fixed_rollouts(), NUM_SAMPLES, algorithm), figures)
    scored = [index for index, reward in enumerate(REWARDS) if reward is not None]
    values = [value for index in scored for value in known.values[index]]
    means = figures.over_ranks(parts.learner.world)
    assert means["value_mean"] == pytest.approx(fmean(values), **ROUNDING)
    divergences = [value for index in scored for value in known.divergences[index]]
    assert means["kl_ref_mean"] == pytest.approx(fmean(divergences), **ROUNDING)
    assert figures.counts["value_mean"] == figures.counts["kl_ref_mean"] == len(values)


FILTERED = {"by response": {}, "by token": RLOO}


@pytest.mark.parametrize("name", FILTERED)
def test_a_response_that_is_cut_off_stays_in_its_groups_baseline_and_weighs_nothing(
    parts: Parts, known: Known, name: str
) -> None:
    algorithm = algorithm_of({**FILTERED[name], "overlong_filtering": True})
    expected = written_out(algorithm, known)
    for layout in LAYOUTS:
        updates = prepared(parts, algorithm, layout=layout)
        for first, update in zip((0, 6), updates, strict=True):
            count = sum(known.lengths[index] for index in range(first, first + 6) if index not in CUT_OFF)
            advantages = by_response([update], ORDERS["as sampled"], lambda batch: batch.advantages)
            weights = by_response([update], ORDERS["as sampled"], lambda batch: batch.weights)
            for index in range(first, first + 6):
                if index in CUT_OFF:
                    assert set(weights.get(index, [0.0])) == {0.0}
                elif index in weights:
                    wanted = expected.get(index, [0.0] * known.lengths[index])
                    assert advantages[index] == pytest.approx(wanted, **ROUNDING)
                    assert weights[index] == pytest.approx([1 / count] * known.lengths[index])
                else:
                    assert index not in expected or expected[index][0] == 0.0
