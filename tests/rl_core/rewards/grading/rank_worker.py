"""The verdicts that every process and thread must agree on; `python -m` of this file writes those of a rank.

Run by `test_same_verdicts` under torchrun; its pairs are graded in a Prefect task as well.
"""

import json
import os
import sys
from pathlib import Path

from rl_core.rewards.grading.grader import Grader

# An answer and its gold answer for each path: spelling, number, meaning, notation, math-verify and a timeout.
PAIRS = [
    ("42", "42"),
    ("42", "43"),
    (r"\sqrt8", r"2\sqrt2"),
    (r"\sqrt8", r"3\sqrt2"),
    (r"42\text{ is my guess but 7}", "42"),
    (r"\lim_{x\to 2} x", "2"),
    (r"\lim_{x\to 2} x", "3"),
    (r"\prod_{k=1}^{100000000} k", "7"),
    (None, "7"),
]
EXPECTED = [True, False, True, False, False, True, False, None, False]


TRIES = 20


def verdicts() -> list[bool | None]:
    """The verdicts on PAIRS, of a grader that remembers nothing.

    What can be decided and was not, since a busy machine left it no time, is asked again; a verdict never is.
    """
    found = [verdict.correct for verdict in Grader().grade_many(PAIRS)]
    for _ in range(TRIES):
        late = [at for at, wanted in enumerate(EXPECTED) if wanted is not None and found[at] is None]
        for at in late:
            found[at] = Grader().grade(*PAIRS[at]).correct
    return found


if __name__ == "__main__":
    Path(sys.argv[1], f"{os.environ['RANK']}.json").write_text(json.dumps(verdicts()), encoding="utf-8")
