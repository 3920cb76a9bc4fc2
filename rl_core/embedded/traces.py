"""Answers to learn from for the embedded task: rows as open-r1/OpenR1-Math-220k has them, with several traces each.

Of each problem, which is in neither training nor test, some traces are right and some are not; columns beside them say
which. Imports no torch.
"""

from typing import Any

import numpy as np

from rl_core.config import EmbeddedConfig
from rl_core.embedded.task import STYLES, Chain, answer_in_style, draw_depths, make_problems

PURPOSE = 2  # keeps these problems apart from other draws under the same seed
NUM_PROBLEMS = 2000
RIGHT = frozenset(("concise", "verbose"))  # a guess can be right by luck, and is no trace of it


def make_traces(embedded: EmbeddedConfig, seed: int) -> list[dict[str, Any]]:
    """Rows of problem, answer, solution, and in every order one trace of each style with what a verifier says of it."""
    random = np.random.default_rng([seed, PURPOSE])
    known = {row["problem"] for rows in make_problems(embedded, seed).values() for row in rows}
    rows = []
    for depth in draw_depths(NUM_PROBLEMS, embedded.max_depth, random):
        chain = Chain.draw(depth, random)
        if chain.problem not in known:
            known.add(chain.problem)
            rows.append(_row(chain, embedded, random))
    return rows


def _row(chain: Chain, embedded: EmbeddedConfig, random: np.random.Generator) -> dict[str, Any]:
    styles = [str(style) for style in random.permutation(STYLES)]
    verified = [style in RIGHT for style in styles]
    return {
        "problem": chain.problem,
        "answer": str(chain.values[-1]),
        "solution": chain.solution(embedded.answer_format),
        "generations": [answer_in_style(chain, style, embedded.answer_format, random) for style in styles],
        "correctness_math_verify": verified,
        "correctness_llama": None,  # asked only where the first verifier is in doubt
        "is_reasoning_complete": [True] * len(styles),
    }
