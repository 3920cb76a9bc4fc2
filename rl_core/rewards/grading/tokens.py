"""From clean text to tokens: numbers, names, commands, signs, each with the place where it starts."""

import re
from dataclasses import dataclass
from typing import Literal

from rl_core.rewards.grading.nodes import NotUnderstood

Kind = Literal["number", "name", "words", "command", "sign", "end"]

FUNCTIONS = frozenset(
    """
    sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sech csch arsinh arcosh artanh
    arcsinh arccosh arctanh asin acos atan cis ln log lg exp gcd lcm max min sqrt det Re Im
    """.split()
)
MIN_WORD_LETTERS = 4  # shorter runs of letters are products of variables

_SPELLINGS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "nicefrac": "frac", "dbinom": "binom", "tbinom": "binom",
    "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "lt": "<", "gt": ">", "neq": "ne",
    "simeq": "approx", "cong": "approx", "ast": "*", "bullet": "cdot", "colon": ":", "backslash": "setminus",
    "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "vert": "|", "mid": "|", "varnothing": "emptyset",
    "land": ",", "lor": ",", "vee": ",", "wedge": ",", "infin": "infty", "infinity": "infty",
    "langle": "(", "rangle": ")",
    "varphi": "phi", "varepsilon": "epsilon", "vartheta": "theta",
}  # fmt: skip
_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?:\ \d{3})+(?!\d)|\d+)
         (?:\.\d+|\.(?!\d))?(?:\.?\\overline\ ?\{\d+\})?
         (?:[eE][-+]?\d+(?![\d.]))?
       | \.\d+(?:[eE][-+]?\d+)?(?:\\overline\ ?\{\d+\})? )
    | \\text\{(?P<words>[^{}]*)\}
    | \\(?P<escaped>[{}|])
    | \\(?P<command>[a-zA-Z]+|\\)
    | (?P<letters>[a-zA-Z]+)
    | (?P<sign>\*\*|<=|>=|!=|[-+*/^_=<>!,;:()\[\]{}|&'])
    """,
    re.VERBOSE,
)
_DIGITS = re.compile(r"(?P<number>\d+)")
_NESTING = {"(": 1, "[": 1, "\\{": 1, ")": -1, "]": -1, "\\}": -1}


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    start: int


def tokenize(text: str) -> list[Token]:
    """The tokens of a clean text, with an `end` behind them.

    Raises:
        NotUnderstood: a character that no answer holds.
    """
    tokens: list[Token] = []
    position = depth = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise NotUnderstood(f"{text[position]!r} at {position}")
        if match["number"] and depth and "," in match["number"]:
            match = _DIGITS.match(text, position)  # in brackets a comma separates
            assert match, "a number begins with a digit"
        for token in _tokens(match, position):
            tokens.append(token)
            depth += _NESTING.get(token.text, 0)
        position = match.end()
    return [*tokens, Token("end", "", len(text))]


def _tokens(match: re.Match[str], start: int) -> list[Token]:
    kind, text = match.lastgroup, match[match.lastgroup or 0]
    if kind == "space":
        return []
    if kind == "letters":
        return _letters(text, start)
    if kind == "escaped":
        return [Token("sign", "\\" + text, start)]
    if kind == "command":
        spelling = _SPELLINGS.get(text, text)
        if spelling in "{}":
            return [Token("sign", "\\" + spelling, start)]
        return [Token("command" if spelling.isalpha() or spelling == "\\" else "sign", spelling, start)]
    if kind == "words" and text.strip().casefold() == "infinity":
        return [Token("command", "infty", start)]
    if kind == "sign":
        return [Token("sign", {"**": "^", ";": ","}.get(text, text), start)]
    return [Token("number" if kind == "number" else "words", text, start)]


def _letters(text: str, start: int) -> list[Token]:
    if text in FUNCTIONS or text in ("pi", "infty", "infinity"):
        return [Token("command", _SPELLINGS.get(text, text), start)]
    if len(text) >= MIN_WORD_LETTERS:
        return [Token("words", text, start)]
    return [Token("name", letter, start + offset) for offset, letter in enumerate(text)]
