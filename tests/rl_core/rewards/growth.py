"""How the time that work takes grows with its text: processor time of this thread, whatever else the machine does."""

import time
import timeit
from collections.abc import Callable

GROWTH = 16  # of the text
ALLOWANCE = 3  # times the growth of the text, for memory and for constants; quadratic would be 16 times
NOISE_SECONDS = 0.01  # of processor time; what takes less than this is not told from what takes nothing
REPETITIONS = 3


def processor_seconds(work: Callable[[], object], repetitions: int = 1) -> float:
    """The least of some repetitions, without collections of garbage, which take as long as the process has objects."""
    return min(timeit.repeat(work, timer=time.thread_time, number=1, repeat=repetitions))


def assert_linear(work: Callable[[str], object], text_of: Callable[[int], str], size: int) -> None:
    """Compare the work on a text with that on one that is GROWTH times as long.

    Args:
        text_of: a text of some size, whose length grows as the size does.
        size: of the short text.
    """
    texts = text_of(size), text_of(GROWTH * size)
    short, long = (processor_seconds(lambda text=text: work(text), REPETITIONS) for text in texts)
    told = f"{long:.4f} s for a text {GROWTH} times as long as one that took {short:.4f} s: {texts[0][:40]!r}"
    assert long < GROWTH * ALLOWANCE * short + NOISE_SECONDS, told
