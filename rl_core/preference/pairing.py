"""Preference pairs from responses and their verdicts: a right response is chosen, a wrong one rejected.

Both are the model's own wherever it gives both. Were the chosen one always a person's and the rejected one the model's,
who wrote it would give the answer away, and a reward model would learn that and nothing of mathematics. For the same
reason pairs are chosen, where asked for so, whose lengths are alike.

Pure functions of values. Sampling is in `sampling`, files are in `table`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

ChosenFrom = Literal["model", "solution"]
Outcome = Literal["both_from_model", "solution_chosen", "no_wrong_response", "no_right_response", "lengths_differ"]
PAIRED: tuple[Outcome, ...] = ("both_from_model", "solution_chosen")


@dataclass(frozen=True, slots=True)
class Response:
    """One answer to a problem, the model's or the data set's."""

    text: str
    num_tokens: int  # with the end-of-sequence token; at least 1
    correct: bool | None  # None: unscored
    truncated: bool = False  # cut off by the limit on tokens


@dataclass(frozen=True, slots=True)
class Answered:
    """One problem, and what there is to pair."""

    index: int  # of its row in the data
    problem: str
    responses: tuple[Response, ...]  # the model's, in the order in which they were sampled
    solution: Response | None = None  # the data set's; None where it has none, or one that is not graded right


@dataclass(frozen=True, slots=True)
class Pair:
    """A better and a worse response to one problem."""

    index: int  # of the problem's row in the data
    problem: str
    chosen: Response
    rejected: Response
    chosen_from: ChosenFrom

    @property
    def length_ratio(self) -> float:
        """Tokens of the longer response over those of the shorter one: at least 1."""
        return _ratio(self.chosen, self.rejected)


def choose_pairs(
    answered: Answered,
    *,
    max_pairs: int,
    match_lengths: bool,
    max_length_ratio: float | None,
    use_solution: bool,
    seed: Sequence[int],
) -> tuple[list[Pair], Outcome]:
    """The pairs of one problem, and what became of it.

    No response is in two pairs, of equal texts one is used, and unscored ones never are. A solution is chosen only
    where the model gave no right response; it makes one pair.

    Args:
        max_pairs: at most so many.
        match_lengths: take the pairs whose lengths are closest, by their ratio; otherwise any, by the seed.
        max_length_ratio: leave out pairs whose longer response has more than so many times the tokens of the shorter.
        use_solution: whether the data set's solution may be chosen.
        seed: of this problem alone, so that no problem's pairs depend on another's.
    """
    right = _different([response for response in answered.responses if response.correct is True])
    wrong = _different([response for response in answered.responses if response.correct is False])
    chosen_from: ChosenFrom = "model"
    if not right and use_solution and answered.solution is not None:
        right, chosen_from = [answered.solution], "solution"
    if not wrong:
        return [], "no_wrong_response"
    if not right:
        return [], "no_right_response"
    pairs = [
        Pair(answered.index, answered.problem, chosen, rejected, chosen_from)
        for chosen, rejected in _matched(right, wrong, max_pairs, match_lengths, max_length_ratio, seed)
    ]
    if not pairs:
        return [], "lengths_differ"
    return pairs, "both_from_model" if chosen_from == "model" else "solution_chosen"


def held_out_problems(problems: Sequence[str], fraction: float, seed: Sequence[int]) -> set[str]:
    """Which problems are held out: `fraction` of the different ones, drawn without replacement; one at least, not all.

    By text and not by row, so that a problem that is there twice is on one side alone.

    Raises:
        ValueError: there are fewer than two different problems.
    """
    different = sorted(set(problems))
    if len(different) < 2:
        raise ValueError(f"{len(different)} different problems cannot be split in two")
    count = min(len(different) - 1, max(1, round(fraction * len(different))))
    drawn = np.random.default_rng(list(seed)).permutation(len(different))[:count]
    return {different[place] for place in drawn}


def _matched(
    right: Sequence[Response],
    wrong: Sequence[Response],
    max_pairs: int,
    match_lengths: bool,
    max_length_ratio: float | None,
    seed: Sequence[int],
) -> list[tuple[Response, Response]]:
    """One pair after another of what is left, in a random order, or the closest in length first and ties in it."""
    possible = list(product(range(len(right)), range(len(wrong))))
    possible = [possible[place] for place in np.random.default_rng(list(seed)).permutation(len(possible))]
    ratios = {(r, w): _ratio(right[r], wrong[w]) for r, w in possible}
    if max_length_ratio is not None:
        possible = [place for place in possible if ratios[place] <= max_length_ratio]
    if match_lengths:
        possible.sort(key=lambda place: ratios[place])  # stable
    pairs: list[tuple[int, int]] = []
    for r, w in possible:
        if len(pairs) < max_pairs and all(r != taken and w != also for taken, also in pairs):
            pairs.append((r, w))
    return [(right[r], wrong[w]) for r, w in pairs]


def _different(responses: Sequence[Response]) -> list[Response]:
    """The first of each text."""
    return list({response.text: response for response in reversed(responses)}.values())[::-1]


def _ratio(one: Response, other: Response) -> float:
    return max(one.num_tokens, other.num_tokens) / min(one.num_tokens, other.num_tokens)
