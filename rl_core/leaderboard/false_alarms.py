"""How often many comparisons may be wrong together. Pure functions of p-values."""

from collections.abc import Sequence


def best_of(p_value: float, num_candidates: int) -> float:
    """The p-value of a comparison with the best of several that the same data chose: Bonferroni's bound.

    The score of the best one is in part luck, so that an equal model seems to have fallen behind it. Asking of this
    comparison what all of them together would be asked keeps the chance that it is wrong.
    """
    return min(1.0, p_value * num_candidates)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment: of those that come out at or below `level`, the chance that one is wrong is at most `level`.

    It holds however the tests depend on each other. Source: Holm 1979, "A Simple Sequentially Rejective Multiple
    Test Procedure", Scandinavian Journal of Statistics 6.
    """
    result, highest = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, p_values[at] * (len(p_values) - rank)))
        result[at] = highest
    return result
