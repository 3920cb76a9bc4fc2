"""Two verifiers on the same responses: the figures of the second, and where they disagree."""

from collections.abc import Sequence
from typing import Any

from rl_core.evaluation.figures import CORRECT, grouped, outcome_of, solved
from rl_core.rollout.collect import Rollout

MAX_LISTED = 50  # disagreements in the results; every one is in the samples, where `verifiers_disagree` is true


def disagree(first: Rollout, second: Rollout) -> bool:
    """Whether the two verdicts on a response differ; to leave it unscored is a verdict."""
    return _verdict(first) != _verdict(second)


def second_figures(
    verifier: str, first: Sequence[Rollout], second: Sequence[Rollout], num_samples: int
) -> dict[str, Any]:
    """What the second verifier says, and the two side by side.

    Args:
        first, second: the same responses in the same order, as each verifier marked them.
    """
    pairs = list(zip(first, second, strict=True))
    counts: dict[str, int] = {}
    for one, other in pairs:
        verdicts = f"{_verdict(one)}, {_verdict(other)}"
        counts[verdicts] = counts.get(verdicts, 0) + 1
    differing = [(one, other) for one, other in pairs if disagree(one, other)]
    return {
        "verifier": verifier,
        **solved([outcome_of(samples) for samples in grouped(second, num_samples)], num_samples),
        "unscored_count": sum(rollout.score.reward is None for rollout in second),
        "verdicts": dict(sorted(counts.items())),  # "first, second": responses
        "num_disagreements": len(differing),
        "disagreements": [_listed(one, other) for one, other in differing[:MAX_LISTED]],
    }


def _listed(first: Rollout, second: Rollout) -> dict[str, Any]:
    return {
        "index": first.problem.index,
        "sample": first.sample,
        "answer": first.problem.answer,
        "verdicts": [_verdict(first), _verdict(second)],
        "extracted": [first.score.extracted, second.score.extracted],
    }


def _verdict(rollout: Rollout) -> str:
    reward = rollout.score.reward
    return "unscored" if reward is None else "right" if reward == CORRECT else "wrong"
