r"""What an answer says in words: a remark behind a number, a time of day, a base, a ratio, an ordinal.

A remark is short prose; it goes, unless one of its words could change what is said: `42\text{ is my guess but 7}`,
`42\text{ or } 43`, `5\text{ million}`, `5\text{ January}`.
"""

import re

MAX_REMARK_WORDS = 5
MEANINGFUL_WORDS = frozenset(
    """
    or and but not no nor if is are was were be been guess maybe perhaps possibly probably unless except either neither
    between than more less least most minus plus over into to from mod modulo base binary decimal octal hexadecimal
    above below under beyond greater fewer larger smaller up down before after since until other
    squared cubed factorial root pi zero one two three four five six seven eight nine ten eleven twelve twenty thirty
    forty fifty dozen dozens hundred hundreds thousand thousands million millions billion trillion half halves third
    thirds quarter quarters fourth fourths fifth fifths sixth sixths seventh sevenths eighth eighths ninth ninths tenth
    tenths hundredth hundredths thousandth thousandths twice double doubled triple tripled halved
    am pm a.m p.m noon midnight bc bce january february march april may june july august september october november
    december monday tuesday wednesday thursday friday saturday sunday st nd rd th
    negative positive wrong incorrect false true answer invalid impossible unknown undefined infinity infinite
    """.split()
)
NUMERALS = {word: number for number, word in enumerate(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split(), 2
)}  # fmt: skip

_REMARK = re.compile(
    r"(?P<value>.*[\da-zA-Z})\]]) ?\\text\{(?P<remark>[^{}]*)\} ?(?:\^ ?(?:[23]|\{[23]\}))?$", re.DOTALL
)
_BARE_REMARK = re.compile(r"(?P<value>[-+]? ?[\d.,/ ]*\d) ?(?P<remark>[a-zA-Z]{3,}(?: [a-zA-Z]+)*)$")
_WORD = re.compile(r"[a-zA-Z]+(?:\.[a-zA-Z]+)*")
_BASE = rf"(?P<base>\d{{1,2}}|{'|'.join(NUMERALS)})"
_OPENS_TEXT = r"(?:\\text\{ ?)?"
_IN_BASE = re.compile(
    rf"(?P<digits>\d+) ?\(? ?{_OPENS_TEXT}\(?(?:in )?base ?-?\}}? ?{_OPENS_TEXT}{_BASE} ?\)?\}}? ?\)?", re.IGNORECASE
)
_NAMED_BASE = re.compile(rf"(?P<digits>\d+) ?_ ?\{{? ?\\text\{{ ?{_BASE} ?\}} ?\}}?", re.IGNORECASE)
_TO = re.compile(r"(?<=\d) ?(?:\\text\{to\}|(?<= )to) ?(?=\d)")
_ORDINAL = re.compile(r"(?<=\d) ?\^ ?(?:\{ ?\\text\{(st|nd|rd|th)\} ?\}|\\text\{(st|nd|rd|th)\})")
_TIME = re.compile(r"0?(\d{1,2}) ?(?::|\\colon) ?(\d\d) ?(?:\\text\{ ?)?([ap])\.? ?m\.? ?\}?", re.IGNORECASE)


def split_remark(text: str) -> tuple[str, str]:
    """A value and the remark behind it, if there is one that says nothing."""
    match = _REMARK.match(text) or _BARE_REMARK.match(text)
    if match and _says_nothing(match["remark"]):
        return match["value"].strip(), match["remark"].strip().lower()
    return text, ""


def in_symbols(text: str) -> str:
    """Words that stand for signs as these: `11 base 2` as `11_{2}`, `2 to 1` as `2:1`, 3 to the power rd as `3rd`."""
    if base := _IN_BASE.fullmatch(text) or _NAMED_BASE.fullmatch(text):
        return f"{base['digits']}_{{{NUMERALS.get(base['base'].lower(), base['base'])}}}"
    return _ORDINAL.sub(lambda match: match[1] or match[2], _TO.sub(":", text))


def time_of_day(text: str) -> str:
    """A time of the twelve-hour clock, `4:30 pm`, however it is written; empty where the text is none."""
    time = _TIME.fullmatch(text.removeprefix("\\text{"))
    return f"{time[1]}:{time[2]} {time[3].lower()}m" if time else ""


def words_of(text: str) -> list[str]:
    """The words in a text, abbreviations with inner points among them."""
    return _WORD.findall(text)


def _says_nothing(remark: str) -> bool:
    words = [word.lower() for word in words_of(remark)]
    plain = not re.search(r"[\d\\=<>^_]", remark)
    return plain and 0 < len(words) <= MAX_REMARK_WORDS and not MEANINGFUL_WORDS.intersection(words)
