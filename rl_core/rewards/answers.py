r"""Finding the answer in a response: the text after the thought, and the last box in it.

Pure string work in linear time, whatever the response. Deciding whether an answer is right is not done here.
"""

import re
from bisect import bisect_right

THOUGHT_OPENS = "<think>"
THOUGHT_CLOSES = "</think>"

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped character is one token, so that \{ and \} do not count
_ANSWER_OPENS = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_CLOSES = re.compile(r"</answer>", re.IGNORECASE)
_OPENING = re.compile(r"(?<=\\)boxed\s*\{|(?<=\\f)box\s*\{")  # of \boxed{ and \fbox{


def text_after_thought(response: str) -> str | None:
    """What a response says when its thought has ended; None when a thought was opened and never closed.

    A chat template may have opened the thought in the prompt, so `</think>` alone ends one. A response with neither
    tag is all answer.
    """
    closed = response.rfind(THOUGHT_CLOSES)
    text = response[closed + len(THOUGHT_CLOSES) :] if closed >= 0 else response
    return None if THOUGHT_OPENS in text else text


def opens_thought(prompt: str) -> bool:
    """Whether a prompt ends with the tag that opens a thought, so that the response begins inside it."""
    return prompt.rstrip().endswith(THOUGHT_OPENS)


def with_opened_thought(response: str, thought_open: bool) -> str:
    """A response as a turn of its own: the tag of a thought that the prompt opened is part of what was said."""
    return f"{THOUGHT_OPENS}\n{response}" if thought_open else response


def behind_opened_thought(turn: str) -> str:
    """What is said behind a prompt that opened a thought, of a turn of its own: without the tag and its line's end."""
    text = turn.lstrip()
    return text.removeprefix(THOUGHT_OPENS).removeprefix("\n") if text.startswith(THOUGHT_OPENS) else turn


def last_box(text: str) -> str | None:
    r"""The content of the last balanced `\boxed{...}` or `\fbox{...}` in `text`; None when there is none.

    Linear: boxes are tried from the last one back, and where one never closes, none around it can close behind its
    opening brace. So no character is looked at twice.
    """
    search_end = scan_end = len(text)
    while (start := text.rfind("box", 0, search_end)) >= 0:
        search_end = start
        if opening := _OPENING.match(text, start):
            closing = _closing_brace(text, opening.end(), scan_end)
            if closing is not None:
                return text[opening.end() : closing]
            scan_end = start
    return None


def extract_answer(response: str) -> str | None:
    """The boxed answer of a response, without surrounding space; None when it gives none, or an empty one."""
    text = text_after_thought(response)
    box = None if text is None else last_box(text)
    return box.strip() or None if box is not None else None


def last_tagged(text: str) -> str | None:
    """The content of the last `<answer>...</answer>` pair in `text`; None when there is none."""
    closings = list(_ANSWER_CLOSES.finditer(text))
    openings = [match.end() for match in _ANSWER_OPENS.finditer(text)]
    for closing in reversed(closings):
        place = bisect_right(openings, closing.start())
        if place:
            return text[openings[place - 1] : closing.start()]
    return None


def final_answer(response: str) -> str | None:
    r"""The answer of a response that may use either form: the last `<answer>`, and a box in it; else the last box.

    An answer in tags beats a box outside them. None when there is no answer, or an empty one.
    """
    text = text_after_thought(response)
    if text is None:
        return None
    tagged = last_tagged(text)
    if tagged is None:
        return extract_answer(text)
    box = last_box(tagged)
    return (tagged if box is None else box).strip() or None


def unboxed(gold: str) -> str:
    """A gold answer without the box that some data sets put around it."""
    box = last_box(gold) if "box" in gold else None
    return gold if box is None else box


def _closing_brace(text: str, start: int, end: int) -> int | None:
    depth = 1
    for token in _BRACE.finditer(text, start, end):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0:
                return token.start()
    return None
