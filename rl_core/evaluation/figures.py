"""From marked samples to what an evaluation says: its figures with their intervals, and one row per problem."""

from collections.abc import Callable, Sequence
from typing import Any

from rl_core.evaluation.statistics import (
    Estimate,
    Outcome,
    agreement_at_k,
    estimate,
    majority_answer,
    majority_at_k,
    pass_at_k,
)
from rl_core.rewards import canonical
from rl_core.rollout.collect import Rollout, response_metrics

CORRECT = 1.0  # what a verifier gives a right answer
RESPONSE_FIGURES = (
    "response_tokens_mean",
    "response_tokens_max",
    "truncated_fraction",
    "no_answer_fraction",
    "unscored_count",
)


def figures(rollouts: Sequence[Rollout], num_samples: int) -> dict[str, Any]:
    """Everything that is counted.

    Args:
        rollouts: in the order of their problems, `num_samples` side by side.
    """
    by_problem = grouped(rollouts, num_samples)
    outcomes = [outcome_of(samples) for samples in by_problem]
    responses = response_metrics(rollouts)
    return {
        "num_problems": len(by_problem),
        **solved(outcomes, num_samples),
        **{name: responses[name] for name in RESPONSE_FIGURES},
        "intervals": _response_intervals(by_problem),
        "problems": [_row(samples, outcome) for samples, outcome in zip(by_problem, outcomes, strict=True)],
    }


def grouped(rollouts: Sequence[Rollout], num_samples: int) -> list[Sequence[Rollout]]:
    """The samples of each problem."""
    return [rollouts[start : start + num_samples] for start in range(0, len(rollouts), num_samples)]


def solved(outcomes: Sequence[Outcome], num_samples: int) -> dict[str, Any]:
    """pass@1, and pass, majority and agreement for every power of two that there are samples for, and for all."""
    ks = sorted({2**power for power in range(num_samples.bit_length()) if 2**power <= num_samples} | {num_samples})
    return {
        "pass_at_1": as_json(estimate([pass_at_k(o.num_correct, o.num_scored, 1) for o in outcomes])),
        "pass_at_k": {k: as_json(estimate([pass_at_k(o.num_correct, o.num_scored, k) for o in outcomes])) for k in ks},
        "majority_at_k": {k: as_json(estimate([majority_at_k(o, k) for o in outcomes])) for k in ks},
        "agreement_at_k": {k: as_json(estimate([agreement_at_k(o, k) for o in outcomes])) for k in ks},
    }


def as_json(value: Estimate) -> dict[str, float | None]:
    """An estimate as results hold it."""
    return {"value": value.value, "low": value.low, "high": value.high}


def _response_intervals(by_problem: Sequence[Sequence[Rollout]]) -> dict[str, dict[str, float | None]]:
    """What responses look like, each with its interval over problems."""
    longest = max(len(sample.completion.token_ids) for samples in by_problem for sample in samples)
    shares: dict[str, Callable[[Rollout], bool]] = {
        "truncated_fraction": lambda sample: sample.truncated,
        "no_answer_fraction": lambda sample: sample.score.extracted is None,
        "unscored_fraction": lambda sample: sample.score.reward is None,
    }
    found = {
        name: as_json(estimate([_mean([float(holds(sample)) for sample in samples]) for samples in by_problem]))
        for name, holds in shares.items()
    }
    tokens = [_mean([len(sample.completion.token_ids) for sample in samples]) for samples in by_problem]
    return {"response_tokens_mean": _bounded(tokens, float(longest)), **found}


def _bounded(values: Sequence[float], highest: float) -> dict[str, float | None]:
    """Mean and interval of values in 0..highest."""
    share = estimate([value / highest if highest else 0.0 for value in values])
    return {name: None if value is None else value * highest for name, value in as_json(share).items()}


def outcome_of(samples: Sequence[Rollout]) -> Outcome:
    """The answers and verdicts of a problem's samples, as far as they were scored."""
    scored = [sample for sample in samples if sample.score.reward is not None]
    answers = tuple(None if sample.score.extracted is None else canonical(sample.score.extracted) for sample in scored)
    return Outcome(answers, tuple(sample.score.reward == CORRECT for sample in scored))


def _row(samples: Sequence[Rollout], outcome: Outcome) -> dict[str, Any]:
    problem = samples[0].problem
    return {
        "index": problem.index,
        "problem": problem.problem,
        "answer": problem.answer,
        "num_correct": outcome.num_correct,
        "num_scored": outcome.num_scored,
        "num_samples": len(samples),
        "majority_answer": majority_answer(outcome.answers),
        "response_tokens_mean": _mean([len(sample.completion.token_ids) for sample in samples]),
        "truncated": sum(sample.truncated for sample in samples),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
