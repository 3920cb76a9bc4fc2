r"""The embedded task: chains of additions and subtractions, solved one step a line.

    problem    Compute 12 a+5 b-6 c-2
    solution   12a+5=17
               17b-6=11
               11c-2=9
               \boxed{9}        or <answer>9</answer>; or all steps between <think> and </think>, the box behind them

The letter is the step's index, so that the model can tell which operation is next. Every value lies in 0..19 and every
operand in 1..9: with values 0..9 a lucky guess pays one time in ten, and reinforcement teaches guessing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from rl_core.config import EmbeddedConfig
from rl_core.config.embedded import AnswerFormat
from rl_core.errors import MistakeError
from rl_core.rewards.answers import THOUGHT_CLOSES, THOUGHT_OPENS

MAX_VALUE = 19
MAX_OPERAND = 9
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ANSWER_OPENS, ANSWER_CLOSES = "<answer>", "</answer>"
# Share of problems by depth: with responses of 6 tokens a step, limits of 32, 64 and 96 tokens fit about 60 %, 85 %
# and all of them, as 8K, 16K and 24K do of a reasoning model's answers.
DEPTH_WEIGHTS = (0.10, 0.17, 0.17, 0.16, 0.05, 0.05, 0.04, 0.04, 0.04, 0.04, 0.04, 0.04, 0.03, 0.03)

STYLES = ("concise", "verbose", "guess", "early_stop")  # of answers: the last two are wrong but by luck

MAX_SHARE_DRAWN = 0.5  # of all problems: beyond it, most draws would repeat an earlier one


@dataclass(frozen=True, slots=True)
class Chain:
    """One problem: a starting value and the signed operands that follow, all partial results in 0..MAX_VALUE."""

    start: int
    operands: tuple[int, ...]

    @classmethod
    def draw(cls, depth: int, random: np.random.Generator) -> Self:
        """A chain of `depth` operations, each uniform over those that stay in range."""
        value = start = int(random.integers(0, MAX_VALUE + 1))
        operands = []
        for _ in range(depth):
            allowed = [n for n in range(-MAX_OPERAND, MAX_OPERAND + 1) if n and 0 <= value + n <= MAX_VALUE]
            operands.append(int(random.choice(allowed)))
            value += operands[-1]
        return cls(start, tuple(operands))

    @property
    def depth(self) -> int:
        return len(self.operands)

    @property
    def values(self) -> list[int]:
        """The starting value and every partial result: [depth + 1]."""
        values = [self.start]
        for operand in self.operands:
            values.append(values[-1] + operand)
        return values

    @property
    def problem(self) -> str:
        steps = "".join(f" {letter}{operand:+d}" for letter, operand in zip(LETTERS, self.operands, strict=False))
        return f"Compute {self.start}{steps}"

    def lines(self) -> list[str]:
        """The worked steps, without the answer."""
        values = self.values
        steps = zip(LETTERS, self.operands, values, values[1:], strict=False)
        return [f"{before}{letter}{operand:+d}={after}\n" for letter, operand, before, after in steps]

    def solution(self, answer_format: AnswerFormat = "boxed") -> str:
        return response(self.lines(), self.values[-1], answer_format)


def response(lines: Sequence[str], answer: int, answer_format: AnswerFormat) -> str:
    """Worked steps and an answer, in one of the forms that rewards look for."""
    steps = "".join(lines)
    if answer_format == "answer_tag":
        return f"{steps}{ANSWER_OPENS}{answer}{ANSWER_CLOSES}"
    box = f"\\boxed{{{answer}}}"
    return f"{THOUGHT_OPENS}\n{steps}{THOUGHT_CLOSES}{box}" if answer_format == "thought" else steps + box


def answer_in_style(chain: Chain, style: str, answer_format: AnswerFormat, random: np.random.Generator) -> str:
    """An answer of one of STYLES."""
    if style == "verbose":
        return response([2 * line for line in chain.lines()], chain.values[-1], answer_format)
    if style == "guess":
        return response([], int(random.integers(0, MAX_VALUE + 1)), answer_format)
    if style == "early_stop":
        steps = int(random.integers(0, chain.depth))
        return response(chain.lines()[:steps], chain.values[steps], answer_format)
    return chain.solution(answer_format)


def draw_depths(count: int, max_depth: int, random: np.random.Generator) -> Sequence[int]:
    """`count` depths in 1..max_depth, distributed as DEPTH_WEIGHTS."""
    weights = np.array((DEPTH_WEIGHTS * (1 + max_depth // len(DEPTH_WEIGHTS)))[:max_depth])
    return [int(depth) for depth in random.choice(max_depth, count, p=weights / weights.sum()) + 1]


def num_chains(max_depth: int) -> int:
    """How many different problems of at most `max_depth` operations there are."""
    ending_in = [1] * (MAX_VALUE + 1)  # chains by their last value, of one depth after another
    total = 0
    for _ in range(max_depth):
        ending_in = [
            sum(n for before, n in enumerate(ending_in) if 0 < abs(value - before) <= MAX_OPERAND)
            for value in range(MAX_VALUE + 1)
        ]
        total += sum(ending_in)
    return total


def make_problems(embedded: EmbeddedConfig, seed: int) -> dict[str, list[dict[str, str]]]:
    """Training and held-out problems, no problem twice: {"train": rows, "test": rows} of problem, answer, solution.

    Raises:
        MistakeError: so many are asked for that drawing different ones would take very long, or never end.
    """
    random = np.random.default_rng([seed, 0])
    wanted = embedded.test_problems + embedded.train_problems
    existing = num_chains(embedded.max_depth)
    if wanted > existing * MAX_SHARE_DRAWN:
        raise MistakeError(
            f"embedded: {wanted} problems are asked for (train_problems and test_problems), but with max_depth "
            f"{embedded.max_depth} there are {existing}: raise max_depth, or ask for at most "
            f"{int(existing * MAX_SHARE_DRAWN)}"
        )
    chains: dict[str, Chain] = {}
    while len(chains) < wanted:
        for depth in draw_depths(wanted - len(chains), embedded.max_depth, random):
            chain = Chain.draw(depth, random)
            chains.setdefault(chain.problem, chain)
    rows = [
        {"problem": chain.problem, "answer": str(chain.values[-1]), "solution": chain.solution(embedded.answer_format)}
        for chain in chains.values()
    ]
    random.shuffle(rows)  # shallow chains run out first: without this the last rows would all be deep
    return {"test": rows[: embedded.test_problems], "train": rows[embedded.test_problems :]}
