r"""From LaTeX as models write it to the plain subset that `tokens` knows. Text to text, no meaning yet.

What may stand around an answer without changing it goes: signs of currencies and percent, spacing, fonts and colours,
sizes of brackets, units and remarks behind a number. What is said in words is in `wording`.
"""

import re

from rl_core.rewards.grading.wording import in_symbols, split_remark, words_of
from rl_core.rewards.normalization import INVISIBLE, SIGNS, without_end
from rl_core.rewards.numbers import with_plain_digits
from rl_core.rewards.units import without_unit

MAX_WRAPPED = 8  # text commands within one another

_UNICODE = str.maketrans(
    {
        "\u2212": "-",
        "\u2013": "-",
        "\u00d7": r"\times ",
        "\u00b7": r"\cdot ",
        "\u22c5": r"\cdot ",
        "\u00f7": r"\div ",
        "\u221a": r"\sqrt ",
        "\u03c0": r"\pi ",
        "\u221e": r"\infty ",
        "\u2264": r"\le ",
        "\u2265": r"\ge ",
        "\u2260": r"\ne ",
        "\u2248": r"\approx ",
        "\u00b0": r"^\circ ",
        "\u00b1": r"\pm ",
        "\u222a": r"\cup ",
        "\u2229": r"\cap ",
        "\u2208": r"\in ",
        "\u2205": r"\emptyset ",
        "\u2216": r"\setminus ",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u2032": "'",
        "\u2019": "'",
        "\u00a0": " ",
        "\x0c": r"\f",  # \frac that went through an escape
        **dict.fromkeys(INVISIBLE, ""),
        **{
            sign: rf"\frac{{{above}}}{{{below}}}"
            for sign, above, below in ("\u00bd12", "\u00bc14", "\u00be34", "\u215313", "\u215423", "\u215b18")
        },
    }
)
_THOUSANDS = re.compile(r"(?<=\d)(?:,\\! ?|\{,\} ?|\\,|\\!)(?=\d{3}(?!\d))")
_GAPS = re.compile(
    r"(?<!\\)\\[,;:!> ]|~"
    r"|\\(?:q?quad|(?:neg)?(?:thin|med|thick)space|limits|nolimits|(?:display|text|script)style|tiny|scriptsize"
    r"|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge|rm|bf|it|sf|tt)(?![a-zA-Z])"
    r"|\\hspace\{[^{}]*\}|\\(?:text)?color ?\{\w*\}|\\(?:begin|end)\{(?:align|aligned|equation|gather|gathered)\*?\}"
)
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]")
_BAR_OPENS = re.compile(r"\\left ?(?:\||\\vert(?![a-zA-Z]))")
_BAR_CLOSES = re.compile(r"\\right ?(?:\||\\vert(?![a-zA-Z]))")
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z]) ?\.?")
_WRAPPED = re.compile(
    r"\\(text(?:bf|it|rm|sf|tt|normal)?|mbox|hbox|math(?:rm|bf|it|sf|tt)|operatorname\*?|boldsymbol|bm|underline"
    r"|ensuremath) ?\{"
)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_MARKDOWN = re.compile(r"\*\*(.+)\*\*", re.DOTALL)
_SEPARATOR = re.compile(r"(?<![a-zA-Z\\])(?:and|or|AND|OR|And|Or)(?![a-zA-Z])")
_CHOICE = re.compile(r"^\(?([A-Z])\)$")
_ALWAYS_MATHEMATICS = frozenset(("boldsymbol", "bm", "ensuremath", "underline"))
_SIGN = re.compile(r"[=<>+*/^_]")
_NUMBER_AND_WORDS = re.compile(r"[-+]?\d[\d.,]* ?[a-zA-Z][a-zA-Z ]*")  # \text{42 cm}
_FUNCTION_NAMES = frozenset("sin cos tan ln log lim gcd cis".split())
# One notation for what has several, in this order; what TeX takes one digit of is given that one digit.
_NOTATIONS = (
    (re.compile(r"\\sqrt(\d)"), r"\\sqrt{\1}"),
    (re.compile(r"\\[dtc]?frac ?(\d)"), r"\\frac{\1}"),
    (re.compile(r"\\[dtc]?frac ?(\{[^{}]*\}) ?(\d)"), r"\\frac\1{\2}"),
    (re.compile(r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"^([^{}]*)\\over(?![a-zA-Z])([^{}]*)$"), r"\\frac{\1}{\2}"),
    (re.compile(r"(?<=[\d.])\\(?:bar|dot) ?(?:\{(\d+)\}|(\d))"), r"\\overline{\1\2}"),
    (re.compile(r"(?<!\d)\.(?=\\overline)"), "0."),
    (re.compile(r"(?<![a-zA-Z])m ?(?=\\angle)"), ""),
    (re.compile(r"^\((\d+)\) ?_"), r"\1_"),
)
_ROOT_SIGN = re.compile(r"\u221a ?(\d+(?:\.\d+)?)")  # unlike \\sqrt, it stands before the whole number
_MIXED = re.compile(r"(?<![\d.,/])(\d+) (\d{1,2}|\d{4,}) ?/ ?(\d+)(?![\d./])")


def clean(answer: str) -> tuple[str, str]:
    """The mathematics of an answer in the plain subset, and the remark behind it, if any."""
    text = _ROOT_SIGN.sub(r"\\sqrt{\1}", with_plain_digits(answer))
    text = _single_backslashes(text.translate(_UNICODE))
    if bold := _MARKDOWN.fullmatch(text.strip()):
        text = bold[1]
    text = _THOUSANDS.sub("", text)
    text = _BAR_CLOSES.sub(r"\\rvert ", _BAR_OPENS.sub(r"\\lvert ", text))
    text = _SIZES.sub("", _DELIMITERS.sub("", SIGNS.sub(" ", _GAPS.sub(" ", text)))).strip()
    for pattern, replacement in _NOTATIONS:
        text = pattern.sub(replacement, text)
    text = without_end(" ".join(_unwrap(_MIXED.sub(_mixed, text)).split()), " .,;:\\")
    text, remark = split_remark(without_unit(in_symbols(_without_group(text))))
    text = _CHOICE.sub(r"\1", text)
    return _SEPARATOR.sub(" , ", text).strip(), remark


def _single_backslashes(text: str) -> str:
    r"""Halve the backslashes of a text that was escaped once too often: `\\sqrt{5}`, but not a matrix's `\\`."""
    doubled = re.search(r"\\\\[a-zA-Z]{2,}", text)
    single = re.search(r"(?<!\\)(?:\\\\)*\\(?!\\)", text)
    return text.replace("\\\\", "\\") if doubled and not single else text


def _without_group(text: str) -> str:
    """The text out of the braces around all of it, unless they may be those of a set."""
    grouped = text.startswith("{") and "," not in text and _closing(text, 1) == len(text) - 1
    return text[1:-1].strip() if grouped else text


def _mixed(match: re.Match[str]) -> str:
    """A mixed number in a fraction's notation, `2 1/3`; what is no proper fraction stays."""
    whole, above, below = match.groups()
    return rf"{whole}\frac{{{above}}}{{{below}}}" if int(above) < int(below) else match[0]


def _unwrap(text: str, depth: int = 0) -> str:
    """Replace text commands by what they hold: mathematics as it is, words as one plain text command."""
    pieces, position = [], 0
    while depth < MAX_WRAPPED and (match := _WRAPPED.search(text, position)):
        end = _closing(text, match.end())
        if end is None:
            break
        content = _unwrap(text[match.end() : end].strip(), depth + 1)
        pieces += [text[position : match.start()], _unwrapped(match[1], content)]
        position = end + 1
    return "".join([*pieces, text[position:]])


def _closing(text: str, start: int) -> int | None:
    depth = 1
    for token in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if not depth:
            return token.start()
    return None


def _unwrapped(command: str, content: str) -> str:
    words = words_of(content)
    if command.startswith("operatorname"):
        return rf"\{content} " if content.isalpha() else content
    if command in _ALWAYS_MATHEMATICS or (command.startswith("math") and _SIGN.search(content)):
        return content
    if not words or "\\" in content or (content.strip("()") == words[0] and len(words[0]) == 1):
        return content  # \text{13}, \text{(A)}, \mathrm{e}
    if command == "mathrm" and words == [content] and content in _FUNCTION_NAMES:
        return rf"\{content} "
    if content.strip(" ,").lower() in ("and", "or"):
        return " , "
    if _NUMBER_AND_WORDS.fullmatch(content):
        return content
    if any(character.isdigit() for character in content) and not any(len(word) > 1 for word in words):
        return content
    return rf"\text{{{content}}}"
