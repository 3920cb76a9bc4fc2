"""Two models side by side on the same problems: pure functions of the rows of their evaluations.

Two questions have two intervals. Would the difference hold on other problems like these? Then the problems are a draw
from many, and both problems and samples are chance. Did it happen on these very problems? Then samples alone are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from rl_core.evaluation.power import Spread, detectable_difference, problems_needed, samples_needed, spread_of
from rl_core.evaluation.statistics import LEVEL, Values, paired_difference

Row = Mapping[str, Any]  # of an evaluation's `problems`: index, num_correct, num_scored


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second model against the first: what B solves more often than A."""

    difference: float  # mean over problems of the fraction solved, B less A
    low: float  # 95 % interval, problems and samples being chance: of problems like these
    high: float
    low_here: float  # 95 % interval, samples alone being chance: of these very problems
    high_here: float
    num_problems: int  # with a scored sample of both
    num_left_out: int  # that only one has, or that have no scored sample of one
    num_samples_a: float  # scored, mean over problems
    num_samples_b: float
    p_worse: float  # chance of so few right answers of B, were both equally good on every problem: exact
    p_better: float  # chance of so many
    spread: Spread
    samples_needed: int | None  # of each problem and model, to see this difference; None: no number would do
    problems_needed: int | None  # like these, at the samples that there are
    detectable: float | None  # the smallest difference that these problems and samples can show

    @property
    def distinguishable(self) -> bool:
        """Whether the interval over problems and samples leaves zero out."""
        return self.low > 0 or self.high < 0

    @property
    def sentence(self) -> str:
        """What can be said of problems like these, and what it would take to say more."""
        found = f"{_points(self.difference)} points, 95 % from {_points(self.low)} to {_points(self.high)}"
        sampled = f"n={self._samples}"
        if self.distinguishable:
            return f"{found}: distinguishable with {sampled}"
        return f"{found}: not distinguishable with {sampled}; {self._remedy()}"

    @property
    def sentence_here(self) -> str:
        """What can be said of these very problems."""
        here = f"95 % from {_points(self.low_here)} to {_points(self.high_here)}"
        verdict = "beyond the chance of sampling" if self.low_here > 0 or self.high_here < 0 else "within that chance"
        return f"On these {self.num_problems} problems themselves, samples alone being chance: {here}, {verdict}"

    def as_json(self) -> dict[str, Any]:
        """Its values, and both sentences."""
        return {**asdict(self), "sentence": self.sentence, "sentence_here": self.sentence_here}

    @property
    def _samples(self) -> str:
        fewest, most = sorted((self.num_samples_a, self.num_samples_b))
        return f"{fewest:.4g}" if fewest == most else f"{self.num_samples_a:.4g} and {self.num_samples_b:.4g}"

    def _remedy(self) -> str:
        if self.difference == 0 or self.problems_needed is None:
            seen = "" if self.detectable is None else f"; differences from {100 * self.detectable:.1f} points on would"
            return f"no difference was seen{seen}"
        more = max(self.problems_needed, self.num_problems + 1)  # what is there was not enough, whatever the estimate
        problems = f"{more:,} problems like these at n={self._samples} would be"
        if self.samples_needed is not None:
            helps = self.samples_needed > _samples_of_each(self.num_samples_a, self.num_samples_b)
            return f"n={self.samples_needed} would be" if helps else problems
        if self.spread.within is None:
            return f"what a sample varies by is not known where a problem is sampled once; {problems}"
        return f"no n would be on {self.num_problems} problems, which differ too much from each other; {problems}"


def compare(rows_a: Sequence[Row], rows_b: Sequence[Row]) -> Comparison:
    """B against A, paired by problem.

    `p_worse` and `p_better` come from the exact conditional test of stratified two-by-two tables (Cochran 1954;
    Mantel and Haenszel 1959; exact form Gart 1970): were both models equally good on every problem, then B's right
    answers of a problem, given those of both, would be a hypergeometric draw. So a test that calls B worse where
    p_worse <= a is wrong, where B is no worse on any problem, in at most a share a of its uses, with any number of
    problems and samples.

    Raises:
        ValueError: the rows are of different problems, or share none with a scored sample of both.
    """
    first, second = ({int(row["index"]): row for row in rows} for rows in (rows_a, rows_b))
    shared = sorted(first.keys() & second.keys())
    for index in shared:
        if first[index].get("problem") != second[index].get("problem"):
            raise ValueError(f"problem {index} is another one in each: these are evaluations of different problems")
    paired = [index for index in shared if first[index]["num_scored"] and second[index]["num_scored"]]
    if not paired:
        raise ValueError("there is no problem with a scored sample of both")
    columns = [_column(rows, name, paired) for rows in (first, second) for name in ("num_correct", "num_scored")]
    return _compared(*columns, num_left_out=len(first.keys() | second.keys()) - len(paired))


def _compared(
    correct_a: Values, scored_a: Values, correct_b: Values, scored_b: Values, *, num_left_out: int
) -> Comparison:
    count = correct_a.size
    interval = paired_difference(correct_a / scored_a, correct_b / scored_b)
    assert interval.value is not None, "compare refuses what has no problem"
    assert interval.low is not None, "an interval has two ends"
    assert interval.high is not None, "an interval has two ends"
    here = _half_width_here(correct_a, scored_a, correct_b, scored_b)
    spread = spread_of(correct_a, scored_a, correct_b, scored_b)
    samples = _samples_of_each(float(scored_a.mean()), float(scored_b.mean()))
    p_worse, p_better = _exact_test(correct_a, scored_a, correct_b, scored_b)
    return Comparison(
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        low_here=interval.value - here,
        high_here=interval.value + here,
        num_problems=count,
        num_left_out=num_left_out,
        num_samples_a=float(scored_a.mean()),
        num_samples_b=float(scored_b.mean()),
        p_worse=p_worse,
        p_better=p_better,
        spread=spread,
        samples_needed=samples_needed(spread, interval.value, count),
        problems_needed=problems_needed(spread, interval.value, samples),
        detectable=detectable_difference(spread, count, samples),
    )


def _samples_of_each(num_samples_a: float, num_samples_b: float) -> float:
    """The number of both models that has as much noise as these two: their harmonic mean."""
    return 2 / (1 / num_samples_a + 1 / num_samples_b)


def _half_width_here(correct_a: Values, scored_a: Values, correct_b: Values, scored_b: Values) -> float:
    """Of the interval over samples alone: normal, the variance of each rate taken at (c + 1/2) / (n + 1).

    That rate, Jeffreys' mean, is never 0 or 1: a problem solved 16 times of 16 says little of the 17th, not nothing.
    """
    variance = sum(
        float((rate * (1 - rate) / scored).sum())
        for rate, scored in (
            ((correct_a + 0.5) / (scored_a + 1), scored_a),
            ((correct_b + 0.5) / (scored_b + 1), scored_b),
        )
    )
    return NormalDist().inv_cdf(0.5 + LEVEL / 2) * sqrt(variance) / correct_a.size


def _exact_test(correct_a: Values, scored_a: Values, correct_b: Values, scored_b: Values) -> tuple[float, float]:
    """Chance of at most, and of at least, as many right answers of B as there are, given those of both by problem."""
    chances: np.ndarray[Any, np.dtype[np.floating[Any]]] = np.ones(1)
    lowest = 0
    for right_a, all_a, right_b, all_b in zip(correct_a, scored_a, correct_b, scored_b, strict=True):
        start, of_problem = _hypergeometric(int(right_a + right_b), int(all_a), int(all_b))
        chances, lowest = np.asarray(np.convolve(chances, of_problem), np.float64), lowest + start
    seen = int(correct_b.sum()) - lowest
    return min(1.0, float(chances[: seen + 1].sum())), min(1.0, float(chances[seen:].sum()))


def _hypergeometric(right: int, all_a: int, all_b: int) -> tuple[int, Values]:
    """Chances that B has so many of `right` answers among both models' samples: of the first number, then each next."""
    lowest, highest = max(0, right - all_a), min(right, all_b)
    every = comb(all_a + all_b, right)
    ways = [comb(all_b, taken) * comb(all_a, right - taken) for taken in range(lowest, highest + 1)]
    return lowest, np.array([way / every for way in ways])


def _column(rows: Mapping[int, Row], name: str, indices: Sequence[int]) -> Values:
    return np.array([rows[index][name] for index in indices], np.float64)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"
