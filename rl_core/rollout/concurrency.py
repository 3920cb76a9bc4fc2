"""How many responses were under way at a time: a slow one that leaves the device idle is to be seen."""

from collections.abc import Sequence
from itertools import pairwise

from rl_core.types import Completion


def tail_fraction(completions: Sequence[Completion]) -> float:
    """Share of the time of generation in which fewer than half as many responses were under way as at the peak.

    From the first token of the first response to the last of the last, over all ranks. Zero where that takes no time.
    """
    changes = sorted(
        change for completion in completions for change in ((completion.start_seconds, 1), (completion.end_seconds, -1))
    )
    under_way, spans = 0, []
    for (moment, change), (next_moment, _) in pairwise(changes):
        under_way += change
        spans.append((next_moment - moment, under_way))
    total = sum(seconds for seconds, _ in spans)
    peak = max((count for _, count in spans), default=0)
    return sum(seconds for seconds, count in spans if count < peak / 2) / total if total else 0.0
