"""The parts of a report, before anything is said about Markdown or HTML."""

from collections.abc import Sequence
from dataclasses import dataclass


class Code(str):
    """Text set as code: a digest, a file, a command."""

    __slots__ = ()


class Strong(str):
    """Text that the eye should find first."""

    __slots__ = ()


class Bracketed(str):
    """A value and its interval in brackets, which a narrow table may set on a line of its own."""

    __slots__ = ()


class Link(str):
    """The address of a page, set so that it can be followed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Heading:
    level: int  # 1 is the title
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    parts: Sequence[str]  # str, Code, Strong or Link, one after the other


@dataclass(frozen=True, slots=True)
class Bullets:
    items: Sequence[Sequence[str]]  # each as the parts of a paragraph


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under headers; the first column names the row, `text_columns` are not numbers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG beside the report."""

    name: str  # without suffix
    title: str
    caption: str


@dataclass(frozen=True, slots=True)
class Preformatted:
    """Text whose line breaks and spaces count, exactly as it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number that stands for the whole run."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """A few of them, side by side where there is room."""

    figures: Sequence[KeyFigure]


Block = Heading | Paragraph | Bullets | Table | Picture | Preformatted | KeyFigures
