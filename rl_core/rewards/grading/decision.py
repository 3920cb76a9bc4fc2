"""The verdict on an answer, as far as it can be had in this process, in bounded time.

In this order, the first that decides: same spelling, both rational numbers, same text, same meaning. What none of
them decides is left to the slow path.
"""

import re
from dataclasses import dataclass

from rl_core.rewards.answers import unboxed
from rl_core.rewards.grading.cleaning import clean
from rl_core.rewards.grading.comparison import equivalent
from rl_core.rewards.grading.nodes import Node, NotUnderstood, Undecided
from rl_core.rewards.grading.numerics import ROUNDED_DIGITS
from rl_core.rewards.grading.parser import parse
from rl_core.rewards.grading.wording import time_of_day
from rl_core.rewards.normalization import MAX_CHARACTERS, canonical, name_given
from rl_core.rewards.numbers import is_rational
from rl_core.rewards.units import is_unit

_SLOW_NOTATION = re.compile(r"\\(?:i?int|oint|lim|sum|prod|partial)(?![a-zA-Z])|\\frac ?\{ ?d")
_ARTICLE = re.compile(r"^(?:an?|the) ")
_PROSE_OR_GAP = re.compile(r"\\(?:text|mbox|[lcvd]?dots|mid|quad)|[=<>]|\\approx")


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and what it rests on; `correct` is None where nothing here can decide."""

    correct: bool | None
    path: str  # empty gold, no answer, spelling, number, length, text, meaning, notation or slow


def decide(answer: str | None, gold: str) -> Decision:
    """Whether an extracted answer is the gold answer."""
    if answer is None or not answer.strip():
        return Decision(False, "no answer")
    gold = unboxed(gold).strip()
    gold_spelling, spelling = canonical(gold), canonical(answer)
    if not gold_spelling:
        return Decision(None, "empty gold")
    if spelling == gold_spelling and not _names_differ(answer, gold):
        return Decision(True, "spelling")
    if max(len(answer), len(gold)) > MAX_CHARACTERS:
        return Decision(False, "length")
    if (
        spelling != gold_spelling
        and is_rational(spelling)
        and is_rational(gold_spelling)
        and not (_is_long_decimal(answer) or _is_long_decimal(gold))
    ):
        return Decision(False, "number")
    if (words := _words(gold)) and words == _words(answer):
        return Decision(True, "text")
    if time := time_of_day(clean(gold)[0]):
        return Decision(time == time_of_day(clean(answer)[0]), "text")
    return _by_meaning(answer, gold)


def _by_meaning(answer: str, gold: str) -> Decision:
    (cleaned, remark), (gold_cleaned, gold_remark) = clean(answer), clean(gold)
    if gold_remark and remark and gold_remark != remark and not (is_unit(gold_remark) and is_unit(remark)):
        return Decision(False, "meaning")
    if cleaned and cleaned == gold_cleaned:
        return Decision(True, "spelling")
    try:
        gold_tree = _read(gold_cleaned)
    except NotUnderstood:
        return Decision(None, "slow") if _is_mathematics(gold) else Decision(False, "notation")
    try:
        answer_tree = _read(cleaned)
    except NotUnderstood:
        return Decision(None, "slow") if _is_mathematics(answer) else Decision(False, "notation")
    try:
        return Decision(equivalent(gold_tree, answer_tree), "meaning")
    except (Undecided, RecursionError):
        return Decision(None, "slow")


def read(text: str) -> tuple[Node, str]:
    """What an answer means, and the remark behind it.

    Raises:
        NotUnderstood: it is not in the notation.
    """
    mathematics, remark = clean(text)
    return _read(mathematics), remark


def _read(cleaned: str) -> Node:
    try:
        return parse(cleaned)
    except RecursionError:
        raise NotUnderstood("nested too deep") from None


def _names_differ(answer: str, gold: str) -> bool:
    """Whether both give a value to a variable, each to another one."""
    name, gold_name = name_given(answer), name_given(gold)
    return bool(name and gold_name) and name != gold_name


def _is_long_decimal(text: str) -> bool:
    """Whether a number has so many digits that it may stand for a value it is the rounding of; see `numerics`."""
    return "." in text and sum(map(str.isdigit, text)) >= ROUNDED_DIGITS


def _words(text: str) -> str:
    """The letters of an answer that is only words, without regard to case; empty when there is more to it, or less."""
    mathematics, _ = clean(text)
    inner = mathematics.removeprefix("\\text{").removesuffix("}").casefold()
    inner = _ARTICLE.sub("", inner)
    letters = "".join(character for character in inner if character not in " -'.")
    return " ".join(inner.split()) if letters.isalpha() and len(letters) > 1 else ""


def _is_mathematics(answer: str) -> bool:
    """Whether an answer is notation that only the slow path reads, rather than prose, which it would misread."""
    return _SLOW_NOTATION.search(answer) is not None and _PROSE_OR_GAP.search(answer) is None
