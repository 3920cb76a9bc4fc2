"""How many samples, or problems, it takes to see a difference between two models. Pure functions of plain numbers.

The paired difference of a problem is d = delta + noise: delta is what the second model really solves more often there,
noise comes of the finite number of samples. Over problems delta has the variance `between`, and noise the mean variance
(within_a / n_a + within_b / n_b). More samples make the second small; only more problems make the first count less.

Shape letters: N problems.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

from rl_core.evaluation.statistics import Values, Z, student_t

POWER = 0.8  # chance to see a difference that is there; Cohen 1988, "Statistical Power Analysis", section 2.4
MAX_SAMPLES = 100_000  # of one problem, past which nobody samples
ROUNDS = 8  # of finding how many problems are needed, whose t depends on how many there are


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the variance of paired differences comes from."""

    between: float  # of the true difference, over problems; an estimate below zero counts as zero
    within: float | None  # of one sample of each model, mean over problems; None: no problem was sampled twice
    observed: float | None  # of the differences as they are, both in one; None: a single problem


def spread_of(correct_a: Values, scored_a: Values, correct_b: Values, scored_b: Values) -> Spread:
    """The parts of the variance, estimated without bias: p (1 - p) n / (n - 1) for one sample of a problem.

    Args:
        correct_a, correct_b: [N] right samples of each problem.
        scored_a, scored_b: [N] its scored samples, at least 1.
    """
    difference = correct_b / scored_b - correct_a / scored_a
    observed = float(difference.var(ddof=1)) if difference.size > 1 else None
    if min(scored_a.min(), scored_b.min()) < 2:
        return Spread(observed or 0.0, None, observed)
    first, second = _variance_of_a_sample(correct_a, scored_a), _variance_of_a_sample(correct_b, scored_b)
    noise = float((first / scored_a + second / scored_b).mean())
    between = 0.0 if observed is None else max(0.0, observed - noise)
    return Spread(between, float((first + second).mean()), observed)


def samples_needed(spread: Spread, difference: float, num_problems: int) -> int | None:
    """Samples of each problem and model at which `difference` leaves zero out of its interval with `POWER`.

    The n for which (between + within / n) / N = (difference / m)^2, with m the quantiles of `_quantiles`. None where
    no number does: the problems themselves differ too much, or what a sample varies by is not known.
    """
    if spread.within is None or difference == 0 or num_problems < 2:
        return None
    left = num_problems * (difference / _quantiles(num_problems)) ** 2 - spread.between
    needed = ceil(max(1.0, spread.within / left)) if left > 0 else MAX_SAMPLES + 1
    return needed if needed <= MAX_SAMPLES else None


def problems_needed(spread: Spread, difference: float, num_samples: float) -> int | None:
    """Problems like these at which `difference` leaves zero out of its interval with `POWER`.

    Where nothing varies, the interval is Wilson's (`statistics.interval`): it leaves zero out past z^2 / |difference|.

    Args:
        num_samples: of each problem and model. Where `within` is not known, the number that was sampled.
    """
    if difference == 0:
        return None
    variance = spread.between + (spread.within or 0.0) / num_samples
    if variance == 0:
        return int(Z**2 / abs(difference)) + 1
    problems = 2
    for _ in range(ROUNDS):
        problems = max(2, ceil(variance * (_quantiles(problems) / difference) ** 2))
    return problems


def detectable_difference(spread: Spread, num_problems: int, num_samples: float) -> float | None:
    """The smallest difference that these problems and samples show with `POWER`.

    None of a single problem, and where nothing varied: then nothing is known of what another sample would do.
    """
    variance = spread.between + (spread.within or 0.0) / num_samples
    if num_problems < 2 or variance == 0:
        return None
    return _quantiles(num_problems) * sqrt(variance / num_problems)


def _quantiles(num_problems: int) -> float:
    """Standard errors between zero and a difference that is seen with `POWER`: Student's t, and the normal quantile."""
    return student_t(num_problems - 1) + NormalDist().inv_cdf(POWER)


def _variance_of_a_sample(correct: Values, scored: Values) -> Values:
    rate = correct / scored
    return rate * (1 - rate) * scored / (scored - 1)
