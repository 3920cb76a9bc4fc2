"""Equations and inequalities: what `x = 42` says of an answer, and when two relations are the same.

A name on the left (a variable, f(x), |AB|, a tuple of variables, a word) is given a value: `x = 42` answers 42. A
chain of values must agree with itself, so that `43 = 42` answers nothing. Everything else is an equation.
"""

from dataclasses import dataclass

from rl_core.rewards.grading.nodes import (
    Call,
    Node,
    Relation,
    Sequence,
    Symbol,
    Undecided,
    Words,
)
from rl_core.rewards.grading.numerics import LEAST_POINTS, same_number, shows_digits, values_at, vanishes
from rl_core.rewards.grading.values import CONSTANTS, Value, children, symbols

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}
APPROXIMATION_DIGITS = 2  # that the decimal in `value ~ decimal` must at least show


class Contradiction(ValueError):  # noqa: N818 - a finding about an answer, not an error of the program
    """A chain whose values disagree: it answers nothing."""


@dataclass(frozen=True, slots=True)
class Item:
    """One answer: its value, the name it is given, and the relation it was written as."""

    value: Node
    name: Node | None = None
    relation: Relation | None = None

    @property
    def is_equation(self) -> bool:
        return self.relation is not None and self.name is None


def read_item(node: Node) -> Item:
    """What one item of an answer says.

    Raises:
        Contradiction: it says two things.
    """
    if not isinstance(node, Relation):
        return Item(node)
    if node.operators == ("in",) and is_name(node.terms[0]):
        return Item(node.terms[1], node.terms[0], node)
    if not set(node.operators) <= {"=", "~"}:
        return Item(node, None, node)
    terms, operators = node.terms, node.operators
    if len(terms) == 2 and is_name(terms[1]) and not is_name(terms[0]) and not symbols(terms[0]) & symbols(terms[1]):
        terms = (terms[1], terms[0])
    if is_name(terms[0]):
        return Item(_value_of_chain(terms[1:], operators[1:]), terms[0], node)
    if not any(map(symbols, terms)) or len(terms) > 2:
        return Item(_value_of_chain(terms, operators), None, None)
    return Item(node, None, node)


def _value_of_chain(terms: tuple[Node, ...], operators: tuple[str, ...]) -> Node:
    """The value that a chain of equal values stands for: the last one, or the exact one before an approximation."""
    value = terms[0]
    for operator, term in zip(operators, terms[1:], strict=True):
        if operator == "~":
            if not _approximates(term, value):
                raise Contradiction("a value and what it is not near to")
            return value
        try:
            agrees = same_number(value, term)
        except Undecided:
            agrees = False
        if not agrees:
            raise Contradiction("values that differ")
        value = term
    return value


def _approximates(decimal: Node, value: Node) -> bool:
    """Whether a decimal shows the first digits of a value."""
    try:
        return not symbols(value) and shows_digits(decimal, value, APPROXIMATION_DIGITS)
    except Undecided:
        return False


def is_name(node: Node) -> bool:
    """Whether a node is something that can be given a value, rather than an expression."""
    if isinstance(node, Symbol):
        return node.name not in CONSTANTS and not node.name.startswith("set ")
    if isinstance(node, Words):
        return True
    if isinstance(node, Sequence):
        return bool(node.items) and node.opening in ("(", ":", "[") and all(map(is_name, node.items))
    if isinstance(node, Call):
        if node.name.startswith("apply "):
            return True
        if node.name in ("abs", "prime"):
            return is_name(node.arguments[0])
        return node.name in ("mul", "div") and all(_is_point(argument) for argument in node.arguments)
    return False


def _is_point(node: Node) -> bool:
    """A capital letter, or a product of such: the corner of a figure."""
    if isinstance(node, Call) and node.name == "mul":
        return all(map(_is_point, node.arguments))
    if isinstance(node, Call) and node.name.startswith("apply "):  # f(x) and the like inside a longer name
        return False
    return isinstance(node, Symbol) and node.name[:1].isupper()


def same_name(one: Node | None, other: Node | None) -> bool:
    """Whether two names may be given the same value: any two but different plain variables."""
    if isinstance(one, Symbol) and isinstance(other, Symbol):
        return one == other
    return True


def same_equation(one: Relation, other: Relation) -> bool:
    """Whether two equations are multiples of each other: 2x + 4y = 3 and y = 3/4 - x/2."""
    if len(one.terms) != 2 or len(other.terms) != 2:
        return one == other
    return _proportional(_difference(one), _difference(other)) is not None


def same_inequality(one: Relation, other: Relation) -> bool:
    """Whether two inequalities of two terms each are positive multiples of each other: x < 1 and -x > -1."""
    sides = []
    for relation in (one, other):
        if len(relation.terms) != 2 or relation.operators[0] not in FLIPPED:
            return False
        left, right = relation.terms
        if relation.operators[0] in (">", ">="):
            left, right = right, left
        sides.append((relation.operators[0].replace(">", "<"), Call("sub", (left, right))))
    if sides[0][0] != sides[1][0]:
        return False
    factor = _proportional(sides[0][1], sides[1][1])
    return factor is not None and (sides[0][0] == "!=" or factor > 0)


def _difference(relation: Relation) -> Node:
    return Call("sub", relation.terms)


def _proportional(one: Node, other: Node) -> Value | None:
    """The constant factor between two expressions, as a number of mpmath; None when there is none."""
    found = [values for values in values_at([one, other]) if values[0] and values[1]]
    if len(found) < LEAST_POINTS:
        return None
    first, second = found[0]
    for values in found[1:]:
        left, right = values[0] * second, values[1] * first
        if not vanishes(left - right, max(abs(left), abs(right))):
            return None
    factor = first / second
    return None if getattr(factor, "imag", 0) else factor.real


def walk(node: Node) -> list[Node]:
    """A node and all below it."""
    return [node, *(below for child in children(node) for below in walk(child))]
