r"""One spelling for answers that differ only in how they are typeset.

The rules of the MATH benchmark's string comparison, as the reward functions of siiRL and verl use it, with three
deliberate differences, each of which that comparison gets wrong:
- numbers are compared as exact rationals, so that 025, 25.0 and 25 are one answer;
- text behind a number is dropped only when it is a unit from a closed list: `42\text{ is my guess but 7}` is not 42;
- `k = 42` stands for 42 only when a variable is on the left: `43=42` is not 42.

Source: Hendrycks et al. 2021, "Measuring Mathematical Problem Solving With the MATH Dataset", arXiv:2103.03874.
"""

import re

from rl_core.rewards.numbers import canonical_rational, with_plain_digits
from rl_core.rewards.units import without_unit

MAX_CHARACTERS = 2000  # of an answer that is more than a number; longer ones are compared as they stand

INVISIBLE = "\u200b\u2060\ufeff"  # characters without width
# Percent signs, and those of currencies: dollar, euro, pound, yen, rupee.
SIGNS = re.compile(r"\\?[$%]|[\u20ac\u00a3\u00a5\u20b9]|\\(?:pounds|euro|yen)(?![a-zA-Z])")
_SCALE = r"(?: ?(?:\\(?:text|mathrm) ?\{ ?[CF] ?\}|[CF](?![a-zA-Z_^(])))?"  # Celsius or Fahrenheit
_SPELLINGS = (
    (re.compile(r"\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\[!;:]|\\q?quad(?![a-zA-Z])|\\displaystyle(?![a-zA-Z])"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(rf"(?:\^ ?\{{ ?\\circ ?\}}|\^ ?\\circ(?![a-zA-Z])|\\degree(?![a-zA-Z])|\u00b0){_SCALE}"), ""),
    (re.compile(r"(?<!\\)\\ "), " "),
    (SIGNS, " "),
    (re.compile(r"[\u2212\u2013]"), "-"),  # the minus sign and the en dash
    (re.compile(rf"[\s{INVISIBLE}]+"), " "),
)
_ONE_LETTER_EQUALS = re.compile(
    r"(?P<name>(?:[a-zA-Z]|\\[a-zA-Z]+)(?:_(?:[a-zA-Z0-9]|\{[a-zA-Z0-9]+\}))?) ?= ?(?=[^=]+$)"
)
_IN_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf) ?\{([^{}\\]*)\}")
_SQRT_OF_ONE = re.compile(r"\\sqrt ?([a-zA-Z0-9])")
_FRAC_OF_TWO = re.compile(r"\\frac ?([0-9a-zA-Z]) ?([0-9a-zA-Z])(?![0-9])")
_FRAC_OF_ONE = re.compile(r"\\frac ?([0-9a-zA-Z]) ?\{")
_SPACE = re.compile(r"(?<!\d) | (?!\d)")  # not between two digits, which it keeps apart
_POINT = re.compile(r"(?<![\d])\.(?=\d)")


def canonical(answer: str) -> str:
    """The spelling that stands for every typesetting of the same answer; empty when nothing is left of it.

    Two answers are the same if and only if their canonical spellings are equal and not empty.
    """
    answer = with_plain_digits(answer.strip())
    if (number := canonical_rational(answer)) is not None:
        return number
    if len(answer) > MAX_CHARACTERS:
        return answer
    answer = _typeset(answer)
    if named := _ONE_LETTER_EQUALS.match(answer):
        answer = answer[named.end() :]
    answer = without_unit(_without_enclosing_text(answer))
    return canonical_rational(answer) or _spell_expression(answer)


def name_given(answer: str) -> str:
    """The variable that an answer gives a value, `x` of `x = 42`; empty where it names none."""
    named = _ONE_LETTER_EQUALS.match(_typeset(answer)) if "=" in answer and len(answer) <= MAX_CHARACTERS else None
    return named["name"].replace("{", "").replace("}", "") if named else ""


def without_end(answer: str, characters: str = " .,;") -> str:
    """The answer without the full stop, comma and the like behind it; dots that stand for more to come are kept."""
    return answer if answer.endswith("..") else answer.rstrip(characters)


def same_answer(one: str, other: str) -> bool:
    """Whether two answers have the same canonical spelling; an empty one is the same as none."""
    spelling = canonical(one)
    return bool(spelling) and spelling == canonical(other)


def _typeset(answer: str) -> str:
    for pattern, replacement in _SPELLINGS:
        answer = pattern.sub(replacement, answer)
    return without_end(answer.strip())


def _without_enclosing_text(answer: str) -> str:
    match = _IN_TEXT.fullmatch(answer)
    return match[1].strip() if match else answer


def _spell_expression(answer: str) -> str:
    answer = _SQRT_OF_ONE.sub(r"\\sqrt{\1}", answer)
    answer = _FRAC_OF_TWO.sub(r"\\frac{\1}{\2}", answer)
    answer = _FRAC_OF_ONE.sub(r"\\frac{\1}{", answer)
    return _SPACE.sub("", _POINT.sub("0.", answer))
