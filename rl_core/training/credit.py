"""Credit: from the rewards of a step's responses to the advantages of their tokens.

By response, where all tokens of one share an advantage that follows from rewards alone: known before any forward pass.
By token, where values, a discount or divergences from the reference come in: micro-batches are made first, and are
given their advantages here. Every rank comes to the same numbers, however the responses are split.

Shapes: B responses of a step, P prompts, G responses per prompt; N response tokens and S sequences of a micro-batch.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from rl_core.algorithms.advantages import (
    at_last_token,
    discounted_returns,
    generalized_advantages,
    group_relative,
    moments,
    whiten,
)
from rl_core.algorithms.divergences import kl
from rl_core.config import AlgorithmConfig
from rl_core.training.batching import MicroBatch
from rl_core.training.figures import Figures
from rl_core.world import World

Updates = list[list[MicroBatch]]  # of one step: the micro-batches of each optimizer update


def is_by_token(algorithm: AlgorithmConfig) -> bool:
    """Whether advantages need more than rewards."""
    return algorithm.baseline == "critic" or algorithm.discount < 1 or diverges_in_reward(algorithm)


def diverges_in_reward(algorithm: AlgorithmConfig) -> bool:
    """Whether the divergence from the reference is taken off the rewards."""
    return algorithm.needs_reference and algorithm.kl_in == "reward"


def response_advantages(
    rewards: torch.Tensor, lengths: torch.Tensor, num_samples: int, algorithm: AlgorithmConfig
) -> torch.Tensor:
    """The advantage of each response: [B] float64, zero where unscored.

    Args:
        rewards: [B], G side by side; NaN where unscored.
        lengths: [B] tokens of each response, by which whitening weighs it.
    """
    assert algorithm.baseline != "critic", "a critic's advantages are by token"
    advantages = group_relative(
        rewards.double().reshape(-1, num_samples),
        algorithm.baseline,
        algorithm.scale,
        max_informative_weight=algorithm.max_informative_weight,
    ).flatten()
    if not algorithm.whiten:
        return advantages
    scored = rewards.isnan().logical_not()
    count, total, squares = (
        float((lengths * values)[scored].double().sum())
        for values in (torch.ones_like(advantages), advantages, advantages**2)
    )
    whitened = whiten(advantages, count=count, total=total, total_of_squares=squares)
    return torch.where(scored, whitened, 0.0)


def give_token_advantages(
    updates: Updates,
    algorithm: AlgorithmConfig,
    *,
    kl_coefficient: float,
    num_samples: int,
    num_responses: int,
    world: World,
    figures: Figures,
) -> Updates:
    """The micro-batches with their advantages, and with a critic what it learns. A collective call.

    Args:
        updates: with old and reference log-probabilities where the divergence is in the reward, and with old values
            where there is a critic.
        num_responses: B.
    """
    rewards = [[_token_rewards(batch, algorithm, kl_coefficient, figures) for batch in update] for update in updates]
    if algorithm.in_groups:
        updates = _compared_in_groups(updates, rewards, algorithm, num_samples, num_responses, world)
    else:
        updates = _along_each_response(updates, rewards, algorithm, figures)
    return _whitened(updates, world) if algorithm.whiten else updates


def _token_rewards(
    batch: MicroBatch, algorithm: AlgorithmConfig, kl_coefficient: float, figures: Figures
) -> torch.Tensor:
    """[N]: the response's reward on its last token; of each token the divergence taken off, where it is in the reward.

    Source: Ziegler et al. 2019, arXiv 1909.08593, equation 2, by token as in Ouyang et al. 2022, arXiv 2203.02155.
    """
    rewards = at_last_token(batch.rewards.nan_to_num(0.0), batch.response_lengths)
    if not diverges_in_reward(algorithm):
        return rewards
    assert batch.old_logprobs is not None
    assert batch.ref_logprobs is not None
    divergence = kl(batch.old_logprobs, batch.ref_logprobs, algorithm.kl_estimator)
    figures.count("kl_ref_mean", divergence, batch.scored_mask)
    return rewards - kl_coefficient * divergence


def _compared_in_groups(
    updates: Updates,
    token_rewards: list[list[torch.Tensor]],
    algorithm: AlgorithmConfig,
    num_samples: int,
    num_responses: int,
    world: World,
) -> Updates:
    """A response's reward is the sum over its tokens; responses of a prompt may be on any rank and in any update."""
    assert algorithm.baseline != "critic", "a critic compares no responses"
    own: dict[int, float] = {}
    for update, of_update in zip(updates, token_rewards, strict=True):
        for batch, of_batch in zip(update, of_update, strict=True):
            sums = torch.segment_reduce(of_batch.double(), "sum", lengths=batch.response_lengths)
            scored = batch.rewards.isnan().logical_not().tolist()
            own |= {row: value for row, value, known in zip(batch.rows, sums.tolist(), scored, strict=True) if known}
    rewards = torch.full((num_responses,), torch.nan, dtype=torch.float64)
    for share in world.gather(own):
        rewards[list(share)] = torch.tensor(list(share.values()), dtype=torch.float64)
    advantages = group_relative(
        rewards.reshape(-1, num_samples),
        algorithm.baseline,
        algorithm.scale,
        max_informative_weight=algorithm.max_informative_weight,
    ).flatten()

    def given(batch: MicroBatch) -> MicroBatch:
        values = advantages[list(batch.rows)].float().to(batch.advantages.device)
        return replace(batch, advantages=values.repeat_interleave(batch.response_lengths))

    return [[given(batch) for batch in update] for update in updates]


def _along_each_response(
    updates: Updates, token_rewards: list[list[torch.Tensor]], algorithm: AlgorithmConfig, figures: Figures
) -> Updates:
    """Advantages of a critic, or the discounted rewards to come where there is none; zero where unscored."""

    def given(batch: MicroBatch, rewards: torch.Tensor) -> MicroBatch:
        scored, lengths = batch.scored_mask, batch.response_lengths
        if batch.old_values is None:
            returns = discounted_returns(rewards, lengths, algorithm.discount)
            return replace(batch, advantages=torch.where(scored, returns, 0.0))
        advantages, returns = generalized_advantages(
            rewards, batch.old_values, lengths, algorithm.discount, algorithm.gae_lambda
        )
        _count_values(batch.old_values, returns, scored, figures)
        return replace(batch, advantages=torch.where(scored, advantages, 0.0), returns=returns)

    return [
        [given(batch, rewards) for batch, rewards in zip(update, of_update, strict=True)]
        for update, of_update in zip(updates, token_rewards, strict=True)
    ]


def _count_values(values: torch.Tensor, returns: torch.Tensor, scored: torch.Tensor, figures: Figures) -> None:
    figures.count("value_mean", values, scored)
    figures.count("return_mean", returns, scored)
    figures.count("return_square_mean", returns.double() ** 2, scored)
    figures.count("value_error_mean", returns - values, scored)
    figures.count("value_error_square_mean", (returns - values).double() ** 2, scored)


def _whitened(updates: Updates, world: World) -> Updates:
    """Over the tokens of all scored responses of the step, on every rank."""
    own = [moments(batch.advantages, batch.scored_mask) for update in updates for batch in update]
    count, total, squares = world.sum([sum(column) for column in zip(*own, strict=True)])

    def given(batch: MicroBatch) -> MicroBatch:
        whitened = whiten(batch.advantages, count=count, total=total, total_of_squares=squares)
        return replace(batch, advantages=torch.where(batch.scored_mask, whitened, 0.0))

    return [[given(batch) for batch in update] for update in updates]


def give_value_weights(batches: Sequence[MicroBatch], world: World) -> list[MicroBatch]:
    """One update's micro-batches with the weight of each token in the critic's loss: a mean over trained, scored ones.

    A collective call.
    """
    masks = [batch.scored_mask & (batch.weights > 0) for batch in batches]
    (count,) = world.sum([float(sum(int(mask.sum()) for mask in masks))])
    return [
        replace(batch, value_weights=mask.float() / max(count, 1.0)) for batch, mask in zip(batches, masks, strict=True)
    ]
