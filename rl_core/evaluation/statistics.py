"""The numbers of an evaluation and their 95 % intervals. Pure functions; no sampling, grading or files here.

Every metric is computed per problem from its scored samples, then averaged over problems. A sample that could not be
scored is left out of n before anything here sees it. A problem with fewer than k scored samples has no value at k
(NaN): it is left out of that average, and `num_problems` says how many were used.

Shape letters: N problems, R bootstrap resamples.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb, nan, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVEL = 0.95
NUM_RESAMPLES = 10_000
MAX_DRAWS = 4_000_000  # problems drawn at a time, which bounds the memory of the bootstrap

Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The scored samples of one problem."""

    answers: tuple[str | None, ...]  # canonical answer of each; None: it gave none
    correct: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.answers) != len(self.correct):
            raise ValueError(f"{len(self.answers)} answers, but {len(self.correct)} verdicts")

    @property
    def num_scored(self) -> int:
        return len(self.correct)

    @property
    def num_correct(self) -> int:
        return sum(self.correct)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems with its 95 % interval; all None when no problem has a value."""

    value: float | None
    low: float | None
    high: float | None
    num_problems: int


def pass_at_k(num_correct: int, num_scored: int, k: int) -> float:
    """Probability that at least one of k samples, drawn without replacement from those of a problem, is correct.

    1 - C(n - c, k) / C(n, k), which is unbiased for k independent samples. NaN when n < k. At k = 1 it is c / n.
    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1, arXiv:2107.03374.
    """
    _check_k(k)
    if num_scored < k:
        return nan
    return 1.0 - comb(num_scored - num_correct, k) / comb(num_scored, k)


def majority_at_k(outcome: Outcome, k: int) -> float:
    """Expected correctness of the most frequent answer among k samples drawn without replacement.

    Exact over all C(n, k) draws. Ties count with their expected value: each of the tied answers is taken equally
    often. Samples without an answer do not vote; a draw without a single vote is wrong. NaN when n < k.

    Samples with the same canonical answer are one candidate; were their verdicts to differ, it would count with
    their mean.
    """
    _check_k(k)
    if outcome.num_scored < k:
        return nan
    votes = _votes(outcome)
    verdicts: dict[str, list[bool]] = {answer: [] for answer in votes}
    for answer, correct in zip(outcome.answers, outcome.correct, strict=True):
        if answer is not None:
            verdicts[answer].append(correct)
    won = 0.0
    for answer, count in votes.items():
        correctness = sum(verdicts[answer]) / count
        if correctness:
            others = [votes[other] for other in votes if other != answer]
            won += correctness * _share_of_wins(count, others, outcome.num_scored - votes.total(), k)
    return won


def agreement_at_k(outcome: Outcome, k: int) -> float:
    """Expected share of k samples, drawn without replacement, that give the most frequent answer among them.

    What some call self-consistency; it says nothing of correctness. Exact over all C(n, k) draws. Samples without an
    answer count among the k and agree with nothing. NaN when n < k.
    """
    _check_k(k)
    if outcome.num_scored < k:
        return nan
    counts = list(_votes(outcome).values())
    silent = outcome.num_scored - sum(counts)
    # E[largest] = sum over m of P(largest > m), where P(largest <= m) counts the draws with at most m of each answer.
    draws = comb(outcome.num_scored, k)
    expected = 0.0
    for bound in range(min(k, max(counts, default=0))):
        at_most = _ways([(count, bound) for count in counts] + [(silent, silent)], k)[k]
        expected += 1.0 - at_most / draws
    return expected / k


def majority_answer(answers: Iterable[str | None]) -> str | None:
    """The most frequent answer, for display: of tied ones the first to appear. None when there is no answer."""
    counts = Counter(answer for answer in answers if answer is not None)
    return counts.most_common(1)[0][0] if counts else None


def estimate(values: Sequence[float] | Values, *, seed: int = 0) -> Estimate:
    """The mean of per-problem values with its 95 % interval; see `interval`.

    Args:
        values: [N] in [0, 1]; NaN where a problem has none.
        seed: of the bootstrap; the same seed gives the same interval.
    """
    known = _known(values)
    if not known.size:
        return Estimate(None, None, None, 0)
    low, high = interval(known, lowest=0.0, highest=1.0, seed=seed)
    return Estimate(float(known.mean()), low, high, int(known.size))


def paired_difference(before: Sequence[float] | Values, after: Sequence[float] | Values, *, seed: int = 0) -> Estimate:
    """Mean of `after - before` over the problems that both have a value for, with its 95 % interval.

    Pairing removes what the two evaluations share, the difficulty of each problem. An interval that excludes 0 is a
    difference beyond chance.

    Args:
        before, after: [N] per-problem values in [0, 1], of the same problems in the same order.

    Raises:
        ValueError: the two have different lengths.
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"a paired difference needs the same problems: {first.size} before, {second.size} after")
    known = _known(second - first)
    if not known.size:
        return Estimate(None, None, None, 0)
    low, high = interval(known, lowest=-1.0, highest=1.0, seed=seed)
    return Estimate(float(known.mean()), low, high, int(known.size))


def interval(values: Values, *, lowest: float, highest: float, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of independent per-problem values: cluster bootstrap over problems.

    Problems are resampled whole, with their values. As a value holds the noise of its samples, the interval covers
    both problems and samples. Percentiles are widened to what Student's t asks of N problems, because plain ones are
    too narrow when problems are few. Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap",
    section 3.3 (expanded percentile interval), arXiv:1411.5279.

    Degenerate case, where all values are equal and every resample has the same mean: with u Wilson's upper bound for
    a rate of which N trials showed none, u = z^2 / (N + z^2), a share u of unseen problems could have the lowest or
    the highest value. For values of 0 or 1 this is Wilson's interval.

    Args:
        values: [N], N at least 1.
        lowest, highest: what a value can be.
    """
    count = values.size
    if np.ptp(values) == 0:
        unseen = Z**2 / (count + Z**2)
        value = float(values[0])
        return value + unseen * (lowest - value), value + unseen * (highest - value)
    means = _resampled_means(values, np.random.default_rng(seed))
    tail = NormalDist().cdf(-sqrt(count / (count - 1)) * student_t(count - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _resampled_means(values: Values, generator: np.random.Generator) -> Values:
    rows = max(1, MAX_DRAWS // values.size)
    means = []
    for start in range(0, NUM_RESAMPLES, rows):
        shape = (min(rows, NUM_RESAMPLES - start), values.size)
        means.append(values[generator.integers(values.size, size=shape, dtype=np.int32)].mean(axis=1))
    return np.concatenate(means)


def student_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t. Source: Hill 1970, Cornish-Fisher form (Abramowitz and Stegun 26.7.5)."""
    if freedom == 1:
        return 12.706
    if freedom == 2:
        return 4.303
    z = Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _votes(outcome: Outcome) -> Counter[str]:
    return Counter(answer for answer in outcome.answers if answer is not None)


def _share_of_wins(count: int, others: Sequence[int], silent: int, k: int) -> float:
    """Share of the draws of k in which an answer given `count` times wins; a tie of t answers is 1/t of a win."""
    won = 0.0
    for votes in range(1, min(count, k) + 1):
        level = _ways_by_ties(others, silent, votes, k - votes)
        shared = sum(ways / (ties + 1) for ties, ways in enumerate(level))
        won += comb(count, votes) * shared
    return won / comb(count + sum(others) + silent, k)


def _ways_by_ties(others: Sequence[int], silent: int, votes: int, size: int) -> list[int]:
    """By number of ties: ways to draw `size` samples with no other answer above `votes`, `ties` of them equal to it."""
    most = min(len(others), size // votes)
    table = np.zeros((most + 1, size + 1), dtype=object)  # Python's integers: exact at any size
    table[0] = _polynomial(silent, silent, size)
    for count in others:
        below = np.zeros_like(table)
        for taken in range(min(count, votes - 1, size) + 1):
            below[:, taken:] += comb(count, taken) * table[:, : size + 1 - taken]
        if count >= votes and most:
            below[1:, votes:] += comb(count, votes) * table[:-1, : size + 1 - votes]
        table = below
    return [int(ways) for ways in table[:, size]]


def _ways(counts_and_bounds: Sequence[tuple[int, int]], size: int) -> list[int]:
    """[size + 1] ways to draw 0, 1, ... samples with at most `bound` of each answer."""
    ways = _polynomial(0, 0, size)
    for count, bound in counts_and_bounds:
        factor = _polynomial(count, bound, size)
        ways = [sum(ways[left] * factor[total - left] for left in range(total + 1)) for total in range(size + 1)]
    return ways


def _polynomial(count: int, bound: int, size: int) -> list[int]:
    """[size + 1] ways to take 0, 1, ... of `count` samples, none beyond `bound`."""
    return [comb(count, taken) if taken <= bound else 0 for taken in range(size + 1)]


def _known(values: Sequence[float] | Values) -> Values:
    array = np.asarray(values, np.float64)
    return array[~np.isnan(array)]


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
