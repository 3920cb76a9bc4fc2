"""How numbers and foreign texts are written in a report, the same everywhere."""

import json
import re
from collections.abc import Sequence
from typing import Any

from rl_core.report.document import Bracketed
from rl_core.report.facts import Interval

ABSENT = "-"
MAX_TEXT = 4000  # characters of a response shown; a long one keeps its beginning and its end
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # no page may hold these


def fraction(value: float | None) -> str:
    """Three digits after the point, as pass@1 is usually given."""
    return ABSENT if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.1f} %"


def tokens(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.1f}"


def count(value: int | None) -> str:
    return ABSENT if value is None else f"{value:,}"


def interval(value: Interval | None, *, signed: bool = False) -> str:
    """A value and its 95 % interval: 0.505 (0.461 to 0.549)."""
    if value is None:
        return ABSENT
    sign = "+" if signed else ""
    if value.low is None or value.high is None:
        return f"{value.value:{sign}.3f}"
    return Bracketed(f"{value.value:{sign}.3f} ({value.low:{sign}.3f} to {value.high:{sign}.3f})")


def duration(seconds: float) -> str:
    """Seconds up to two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def gibibytes(size: float | None) -> str:
    return ABSENT if size is None else f"{size / 2**30:.2f} GiB"


def listed(names: Sequence[str]) -> str:
    """A, B and C."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def plain(value: Any) -> str:
    """A setting or a number whose meaning is not known here."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def printable(text: str) -> str:
    """A foreign text without the characters that no page may hold, and shortened in the middle when very long."""
    text = CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"
