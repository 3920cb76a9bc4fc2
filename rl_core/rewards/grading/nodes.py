"""What an answer means: the tree that `parser` makes and that `values`, `sets` and `comparison` read."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A literal number, exact."""

    value: Fraction
    decimals: int = 0  # the last digit written stands for 10 to minus this
    digits: int = 0  # significant digits written, of a number with a point; 0 for a whole one


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, or a constant: pi, e, i, infinity."""

    name: str


@dataclass(frozen=True, slots=True)
class Words:
    """Text that is not mathematics; compared as text, without regard to case."""

    text: str


@dataclass(frozen=True, slots=True)
class Based:
    """Digits in a stated base: 4210_7."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Call:
    """An operation or function and its arguments; `values.OPERATIONS` lists the names."""

    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several values: `(` tuple or interval, `[` list or interval, `{` set, empty brackets a bare list."""

    opening: str
    items: tuple["Node", ...]
    closing: str


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple["Node", ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain `terms[0] operators[0] terms[1] ...` of = ~ < <= > >= != in."""

    terms: tuple["Node", ...]
    operators: tuple[str, ...]


Node = Number | Symbol | Words | Based | Call | Sequence | Matrix | Relation


class NotUnderstood(ValueError):  # noqa: N818 - an outcome of reading, not an error of the program
    """The text is not an answer in the notation that the parser knows."""


class Undecided(ArithmeticError):  # noqa: N818 - an outcome of comparing, not an error of the program
    """The two could not be compared within the bounds."""


class TooLarge(ArithmeticError):  # noqa: N818 - an outcome of evaluating, not an error of the program
    """A value on the way passes the bounds on magnitude."""


class NotANumber(ArithmeticError):  # noqa: N818 - an outcome of evaluating, not an error of the program
    """The expression has no value as a number: a set, a division by zero, text."""
