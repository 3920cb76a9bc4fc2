"""From scored rollouts to the samples of an update: what each may teach, and what its tokens weigh in the loss."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from rl_core.algorithms.advantages import group_relative
from rl_core.algorithms.aggregation import token_weights
from rl_core.config import AlgorithmConfig
from rl_core.rollout.collect import Rollout
from rl_core.training.batching import Sample
from rl_core.training.credit import is_by_token, response_advantages


def rewards_of(rollouts: Sequence[Rollout]) -> torch.Tensor:
    """[B] float32, NaN where unscored."""
    return torch.tensor([float("nan") if r.score.reward is None else r.score.reward for r in rollouts])


def samples_of(rollouts: Sequence[Rollout], num_samples: int, algorithm: AlgorithmConfig) -> list[Sample]:
    """One for each rollout, with its advantage where that follows from rewards alone, else with none yet.

    Args:
        rollouts: G = num_samples of each prompt side by side.
    """
    rewards = rewards_of(rollouts)
    advantages = torch.zeros(len(rollouts))
    if not is_by_token(algorithm):
        lengths = torch.tensor([len(rollout.completion.token_ids) for rollout in rollouts])
        advantages = response_advantages(rewards, lengths, num_samples, algorithm).float()
    return [
        Sample(
            rollout.problem.prompt_ids,
            rollout.completion.token_ids,
            rollout.completion.logprobs,
            advantage,
            row=row,
            prompt=row // num_samples,
            reward=reward,
            trained=not (algorithm.overlong_filtering and rollout.truncated),
        )
        for row, (rollout, advantage, reward) in enumerate(
            zip(rollouts, advantages.tolist(), rewards.tolist(), strict=True)
        )
    ]


def informative_groups(rewards: torch.Tensor, num_samples: int) -> torch.Tensor:
    """[P] bool: groups in which two scored rewards differ."""
    differences = group_relative(rewards.double().reshape(-1, num_samples), "group_mean", "none")
    return (differences != 0).any(-1)


def weighted(
    samples: Sequence[Sample], algorithm: AlgorithmConfig, *, normalizer_tokens: int | None = None
) -> list[Sample]:
    """The samples of one update with the weight of their tokens; those that are not trained weigh nothing.

    Denominators are of the trained samples of the whole update.
    """
    trained = [sample for sample in samples if sample.trained]
    tokens_of_prompt: Counter[int] = Counter()
    for sample in trained:
        tokens_of_prompt[sample.prompt] += len(sample.response_ids)
    lengths = torch.tensor([len(sample.response_ids) for sample in trained])
    weights = token_weights(
        lengths,
        algorithm.aggregation,
        num_tokens=float(lengths.sum()),
        num_sequences=len(trained),
        normalizer_tokens=normalizer_tokens,
        prompt_tokens=torch.tensor([tokens_of_prompt[sample.prompt] for sample in trained]),
        num_prompts=len(tokens_of_prompt),
    )
    of_row = {sample.row: weight for sample, weight in zip(trained, weights.tolist(), strict=True)}
    return [replace(sample, weight=of_row.get(sample.row, 0.0)) for sample in samples]
