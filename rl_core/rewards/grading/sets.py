"""Sets of real numbers, however they are written: intervals, unions, finite sets, inequalities in one variable.

Two of them are the same when they hold the same points: every end of an interval and every constant of either, the
points between them and beyond, and some at random. For intervals and finite sets this is exact.
"""

import random
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any

from rl_core.rewards.grading.nodes import Call, Node, NotANumber, Relation, Sequence, Symbol, TooLarge, Undecided
from rl_core.rewards.grading.relations import walk
from rl_core.rewards.grading.values import context, evaluate, symbols

DIGITS = 60
TOLERANCE_DIGITS = 45
RANDOM_POINTS = 24
MAX_CONSTANTS = 60

REALS = Symbol("set R")
ORDER = {"<": (-1,), ">": (1,), "<=": (-1, 0), ">=": (1, 0), "=": (0,), "!=": (-1, 1)}


def is_real_set(node: Node) -> bool:
    """Whether a node is a set of real numbers rather than a number or a point."""
    if isinstance(node, Sequence):
        interval = len(node.items) == 2 and node.opening in ("(", "[") and node.closing in (")", "]")
        return interval or node.opening == "{"
    if isinstance(node, Relation):
        return bool(symbols(node))  # `42 < 43` holds everywhere, and describes nothing
    return node == REALS or (isinstance(node, Call) and node.name in ("union", "intersection", "difference"))


def same_set(one: Node, other: Node) -> bool:
    """Whether two sets hold the same real numbers.

    Raises:
        Undecided: one of them is not a set of real numbers in at most one variable.
    """
    one, other = _as_one_variable(one), _as_one_variable(other)
    if _has_empty_interval(one) or _has_empty_interval(other):
        return False  # such a pair is a point, or a mistake
    points = _points([one, other])
    one, other = _jointly(one, points), _jointly(other, points)
    return all(_holds(one, point) == _holds(other, point) for point in points)


def _jointly(node: Node, points: list[Fraction]) -> Node:
    r"""The set of all conditions of a list together, where each alone being enough would hold everywhere.

    `x < 1, x > 2` names two ranges; `x > 1, x < 2`, and `x \ne 1, x \ne 2`, nobody writes to say that all x will do.
    """
    if not isinstance(node, Sequence) or node.opening or not all(_holds(node, point) for point in points):
        return node
    return reduce(lambda left, right: Call("intersection", (left, right)), node.items)


def _has_empty_interval(node: Node) -> bool:
    return any(
        isinstance(below, Sequence)
        and below.opening in ("(", "[")
        and len(below.items) == 2
        and _compared(*below.items, Fraction(0)) >= 0
        and (below.opening, below.closing) != ("[", "]")
        for below in walk(node)
    )


def _as_one_variable(node: Node) -> Node:
    """The set with its variable renamed, so that the names of two sets' variables do not matter."""
    node = _without_functions(node)
    names = symbols(node) - {"set R"}
    if len(names) > 1:
        raise Undecided("a set in several variables")
    return _renamed(node, names.pop()) if names else node


def _without_functions(node: Node) -> Node:
    """The set with the value of a function as its variable: `0 < f(x) < 1` is a set of values of f(x)."""
    applications = {below for below in walk(node) if _is_application(below)}
    if len(applications) > 1:
        raise Undecided("a set in several values of a function")
    return _mapped(node, lambda below: Symbol("x") if _is_application(below) else None)


def _is_application(node: Node) -> bool:
    return isinstance(node, Call) and node.name.startswith("apply ")


def _renamed(node: Node, name: str) -> Node:
    return _mapped(node, lambda below: Symbol("x") if below == Symbol(name) else None)


def _mapped(node: Node, change: Any) -> Node:
    changed = change(node)
    if changed is not None:
        return changed
    if isinstance(node, Call):
        return Call(node.name, tuple(_mapped(item, change) for item in node.arguments))
    if isinstance(node, Sequence):
        return Sequence(node.opening, tuple(_mapped(item, change) for item in node.items), node.closing)
    if isinstance(node, Relation):
        return Relation(tuple(_mapped(item, change) for item in node.terms), node.operators)
    return node


def _points(sets: list[Node]) -> list[Fraction]:
    constants: set[Fraction] = set()
    for node in sets:
        for below in walk(node):
            if isinstance(below, (Symbol, Sequence, Relation)) or symbols(below):
                continue
            try:
                value = _fraction(evaluate(below, DIGITS, {}))
            except (NotANumber, TooLarge, Undecided):
                continue
            constants |= {value, -value}
    if len(constants) > MAX_CONSTANTS:
        raise Undecided("too many constants")
    ordered = sorted(constants) or [Fraction(0)]
    between = [(low + high) / 2 for low, high in pairwise(ordered)]
    beyond = [ordered[0] - 1, ordered[-1] + 1, ordered[0] * 1000 - 1000, ordered[-1] * 1000 + 1000]
    generator = random.Random(0)
    span = ordered[-1] - ordered[0] + 6
    anywhere = [ordered[0] - 3 + span * Fraction(generator.randint(1, 10**6), 10**6 + 3) for _ in range(RANDOM_POINTS)]
    return [*ordered, *between, *beyond, *anywhere]


def _fraction(value: Any) -> Fraction:
    mp = context(DIGITS)
    if getattr(value, "imag", 0):
        raise NotANumber("not real")
    return Fraction(int(mp.floor(mp.re(value) * mp.mpf(10) ** DIGITS + mp.mpf(1) / 2)), 10**DIGITS)


def _holds(node: Node, point: Fraction) -> bool:
    """Whether a set holds a point."""
    if node == REALS:
        return True
    if isinstance(node, Relation):
        return _fulfils(node, point)
    if isinstance(node, Call) and node.name in ("union", "intersection", "difference"):
        left, right = (_holds(item, point) for item in node.arguments)
        return {"union": left or right, "intersection": left and right, "difference": left and not right}[node.name]
    if not isinstance(node, Sequence):  # a set of one number, whose braces the parser took for a group
        return _order(node, point) == 0
    if node.opening == ":":
        raise Undecided("not a set of real numbers")
    if node.opening == "{":
        return any(_order(item, point) == 0 for item in node.items)
    if node.opening == "":  # several conditions, each of which is enough
        return any(_holds(item, point) for item in node.items)
    if len(node.items) != 2:
        raise Undecided("not an interval")
    low, high = (_order(item, point) for item in node.items)
    above = low < 0 or (low == 0 and node.opening == "[")
    below = high > 0 or (high == 0 and node.closing == "]")
    return above and below


def _fulfils(relation: Relation, point: Fraction) -> bool:
    for left, operator, right in zip(relation.terms, relation.operators, relation.terms[1:], strict=False):
        if operator == "in":
            if left != Symbol("x"):
                raise Undecided("membership of an expression")
            if not _holds(right, point):
                return False
        elif operator not in ORDER:
            raise Undecided(operator)
        elif _compared(left, right, point) not in ORDER[operator]:
            return False
    return True


def _order(node: Node, point: Fraction) -> int:
    """-1, 0 or 1: where a constant is, seen from the point."""
    return _compared(node, Symbol("x"), point)


def _compared(left: Node, right: Node, point: Fraction) -> int:
    try:
        sides = [_extended(side, point) for side in (left, right)]
    except NotANumber:
        return 2  # no value there: no relation holds
    except TooLarge:
        raise Undecided("values beyond the bounds on magnitude") from None
    if isinstance(sides[0], str) or isinstance(sides[1], str):
        rank = [{"-": -1, "+": 1}.get(side, 0) if isinstance(side, str) else 0 for side in sides]
        return (rank[0] > rank[1]) - (rank[0] < rank[1])
    difference = sides[0] - sides[1]
    if getattr(difference, "imag", 0):
        return 2
    close = abs(difference) < context(DIGITS).mpf(10) ** -TOLERANCE_DIGITS
    return 0 if close else (1 if difference > 0 else -1)


def _extended(node: Node, point: Fraction) -> Any:
    if node == Symbol("infinity"):
        return "+"
    if node == Call("neg", (Symbol("infinity"),)):
        return "-"
    return evaluate(node, DIGITS, {"x": point})
