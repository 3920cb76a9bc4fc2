"""How good a reward model is on pairs that it was not trained on, and whether length is all that it knows.

Everything is averaged over problems, each with the mean of its pairs, so that intervals are over problems. Pure
functions of arrays. Shape letters: N pairs, D features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_core.evaluation.statistics import Estimate, estimate, paired_difference

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

NUM_BINS = 5
# Of the logistic baseline: enough that pairs which length separates leave it with finite weights.
RIDGE = 1e-3
NEWTON_STEPS = 50


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Pairs with the scores of their responses, as columns of N."""

    problems: NDArray[np.int64]  # which problem each is of
    chosen_scores: Values
    rejected_scores: Values
    chosen_tokens: Values  # lengths of the responses
    rejected_tokens: Values
    from_model: Mask  # True where both responses are the model's, False where the chosen one is the data set's

    @property
    def margins(self) -> Values:
        """Score of the chosen response less that of the rejected one: [N]."""
        return self.chosen_scores - self.rejected_scores

    @property
    def length_ratios(self) -> Values:
        """Tokens of the longer response over those of the shorter one: [N], at least 1."""
        longer = np.maximum(self.chosen_tokens, self.rejected_tokens)
        return longer / np.minimum(self.chosen_tokens, self.rejected_tokens)

    def where(self, mask: Mask) -> "ScoredPairs":
        """The pairs of a mask [N]."""
        columns = (getattr(self, name)[mask] for name in self.__slots__)
        return ScoredPairs(*columns)


def measures(held_out: ScoredPairs, train: ScoredPairs, *, matched_ratio: float) -> dict[str, Any]:
    """Everything that is said of a reward model, as it stands in summary.json; names are in docs/reward-model.md.

    Args:
        held_out: pairs of problems that it was not trained on.
        train: pairs that it was trained on, on which the baseline that sees lengths alone is fitted.
        matched_ratio: pairs whose lengths differ by at most this factor count as matched in length.
    """
    right = wins(held_out.margins)
    matched = held_out.length_ratios <= matched_ratio
    by_length = wins(length_features(held_out) @ fit_length_rule(train))
    above_baseline = {
        **over_problems(right, held_out.problems),  # of as many pairs and problems
        **_interval(
            paired_difference(per_problem(by_length, held_out.problems), per_problem(right, held_out.problems))
        ),
    }
    right_where_matched = over_problems(right, held_out.problems, matched)
    return {
        "loss": float(np.logaddexp(0.0, -held_out.margins).mean()),
        "accuracy": over_problems(right, held_out.problems),
        "accuracy_both_from_model": over_problems(right, held_out.problems, held_out.from_model),
        "accuracy_solution_chosen": over_problems(right, held_out.problems, ~held_out.from_model),
        "accuracy_length_matched": {"max_length_ratio": matched_ratio, **right_where_matched},
        "more_than_length": _is_above(right_where_matched, 0.5) and _is_above(above_baseline, 0.0),
        "length": {
            "longer_wins": over_problems(wins(held_out.chosen_tokens - held_out.rejected_tokens), held_out.problems),
            "baseline": over_problems(by_length, held_out.problems),
            "baseline_length_matched": over_problems(by_length, held_out.problems, matched),
            "above_baseline": above_baseline,
            "score_correlation": rank_correlation(
                np.concatenate([held_out.chosen_scores, held_out.rejected_scores]),
                np.concatenate([held_out.chosen_tokens, held_out.rejected_tokens]),
            ),
            "margin_correlation": rank_correlation(held_out.margins, held_out.chosen_tokens - held_out.rejected_tokens),
        },
        "calibration_by_confidence": calibration(held_out, by=lambda pairs: abs(pairs.margins), of=_surer),
        "calibration_by_length": calibration(held_out, by=_mean_tokens, of=_longer),
        "calibration_by_length_ratio": calibration(held_out, by=lambda pairs: pairs.length_ratios, of=_longer),
    }


def wins(differences: Values) -> Values:
    """[N] 1 where the chosen response is ahead, 0 where the rejected one is, 0.5 where they are even."""
    return np.where(differences > 0, 1.0, np.where(differences < 0, 0.0, 0.5))


def over_problems(values: Values, problems: NDArray[np.int64], mask: Mask | None = None) -> dict[str, Any]:
    """The mean over problems of the mean of each one's pairs, its 95 % interval, and of how many it is.

    Args:
        values: [N] in [0, 1].
        mask: [N] pairs that count; default: all.
    """
    if mask is not None:
        values, problems = values[mask], problems[mask]
    means = per_problem(values, problems)
    return {**_interval(estimate(means)), "num_pairs": int(values.size), "num_problems": int(means.size)}


def per_problem(values: Values, problems: NDArray[np.int64]) -> Values:
    """The mean of each problem's values, by problem."""
    different, place = np.unique(problems, return_inverse=True)
    totals = np.bincount(place, weights=values, minlength=different.size)
    return totals / np.maximum(1, np.bincount(place, minlength=different.size))


def length_features(pairs: ScoredPairs) -> Values:
    """[N, 2] what can be seen of a pair by length alone: differences of tokens, in hundreds, and of their logarithms.

    Both change sign when the two responses change places, as the score of a pair does.
    """
    tokens = (pairs.chosen_tokens - pairs.rejected_tokens) / 100
    return np.stack([tokens, np.log(pairs.chosen_tokens) - np.log(pairs.rejected_tokens)], axis=1)


def fit_length_rule(pairs: ScoredPairs) -> Values:
    """[D] weights of the logistic model that says by length alone which response is chosen.

    It maximises the mean of log sigmoid(x . w) - RIDGE / 2 |w|^2 over pairs, without an intercept: which of the two is
    named first means nothing. By Newton's method, whose objective is strictly concave.
    """
    features = length_features(pairs)
    weights = np.zeros(features.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = _sigmoid(features @ weights)
        gradient = features.T @ (1 - probability) / len(features) - RIDGE * weights
        curvature = (features.T * (probability * (1 - probability))) @ features / len(features)
        weights = weights + np.linalg.solve(curvature + RIDGE * np.eye(weights.size), gradient)
    return weights


def rank_correlation(one: Values, other: Values) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, ties with their mean rank. None where one of them is constant."""
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def calibration(
    pairs: ScoredPairs, *, by: Callable[[ScoredPairs], Values], of: Callable[[ScoredPairs], Values]
) -> list[dict[str, Any]]:
    """Does what the model says of a pair happen as often as it says, in NUM_BINS bins of as many pairs.

    A pair is looked at from one of its responses: `predicted` is the model's mean probability that this one is the
    better, `observed` how often it was, with its interval over problems. Seen from the chosen one every pair would have
    been won, so it is seen from the one that `of` says.

    Args:
        by: [N] by which pairs are put into bins; those of equal values stay together.
        of: [N] above 0 where a pair is looked at from its chosen response, below from its rejected one, 0: left out.
    """
    side = np.sign(of(pairs))
    pairs, side = pairs.where(side != 0), side[side != 0]
    order = by(pairs)
    bins = np.searchsorted(np.sort(order), order) * NUM_BINS // max(1, order.size)
    rows = []
    for place in np.unique(bins):
        inside = bins == place
        observed = over_problems((side[inside] > 0).astype(np.float64), pairs.problems[inside])
        rows.append(
            {
                "low": float(order[inside].min()),
                "high": float(order[inside].max()),
                "predicted": float(per_problem(_sigmoid(side * pairs.margins)[inside], pairs.problems[inside]).mean()),
                "observed": observed,
            }
        )
    return rows


def _is_above(measured: dict[str, Any], bound: float) -> bool:
    """Whether the whole interval is; not where nothing could be measured."""
    return measured["low"] is not None and bool(measured["low"] > bound)


def _surer(pairs: ScoredPairs) -> Values:
    """From the response that the model puts first."""
    return pairs.margins


def _longer(pairs: ScoredPairs) -> Values:
    """From the longer response."""
    return pairs.chosen_tokens - pairs.rejected_tokens


def _mean_tokens(pairs: ScoredPairs) -> Values:
    return (pairs.chosen_tokens + pairs.rejected_tokens) / 2


def _sigmoid(values: Values) -> Values:
    return np.exp(-np.logaddexp(0.0, -values))


def _ranks(values: Values) -> Values:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _interval(value: Estimate) -> dict[str, float | None]:
    return {"value": value.value, "low": value.low, "high": value.high}
