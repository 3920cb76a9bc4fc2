"""Whether two expressions have the same value: exactly where they are rational, to a hundred digits where not.

Nothing is equal for being near. Two constants are the same when their difference vanishes as fast as the digits grow;
two functions when they agree so at random rational points. The one concession is a decimal of at least ROUNDED_DIGITS
significant digits, which stands for a value without a finite decimal spelling that it is the rounding of.
"""

import random
from collections.abc import Sequence
from fractions import Fraction

from rl_core.rewards.grading.nodes import Call, Node, NotANumber, Number, Symbol, TooLarge, Undecided
from rl_core.rewards.grading.values import Assignment, Value, children, context, evaluate, exact, is_complex, symbols

ROUNDED_DIGITS = 12
FLOAT_DIGITS = 16  # decimal digits of a floating-point number of 64 bits, which print as 16 or 17
FEW_DIGITS, MANY_DIGITS = 50, 120  # precisions of the two evaluations of a constant
MAX_DIGITS = 1000
GUARD_DIGITS = 30  # that rounding on the way may cost
SCALES = (
    1,
    1,
    10,
    100,
    1,
    1,
    10,
    100,
)  # of the points at which functions are compared; negative too in the second half
POINTS = len(SCALES)
LEAST_POINTS = 2  # of them at which both must have a real value


def same_number(gold: Node, answer: Node) -> bool:
    """Whether two expressions are equal, for all values of their variables.

    Raises:
        Undecided: not within the bounds.
    """
    if gold == answer:
        return True
    try:
        first, second = exact(gold), exact(answer)
        if first is not None and second is not None:
            return first == second or _rounded(gold, answer) or _rounded(answer, gold)
    except NotANumber:
        return False
    if symbols(gold) | symbols(answer):
        return _same_function(gold, answer)
    return _same_constant(gold, answer) or _rounded(gold, answer) or _rounded(answer, gold)


def values_at(nodes: Sequence[Node], points: int = POINTS) -> list[list[Value]]:
    """The values of expressions at random points at which all are real (or complex, where i stands in one).

    Points at which one of them has no value, or one beyond the bounds, are left out.
    """
    names = sorted(set().union(*map(symbols, nodes)))
    whole = set().union(*map(_whole_symbols, nodes))
    complex_too = any(map(is_complex, nodes))
    found = []
    for point in range(points):
        assignment = _assignment(names, whole, point)
        try:
            values = [evaluate(node, MANY_DIGITS, assignment) for node in nodes]
        except (NotANumber, TooLarge):
            continue
        if complex_too or not any(map(_is_unreal, values)):
            found.append(values)
    return found


def vanishes(difference: Value, scale: Value, digits: int = MANY_DIGITS) -> bool:
    """Whether a difference of values of about `scale` is nothing but rounding at `digits` digits."""
    return bool(abs(difference) <= context(digits).mpf(10) ** (GUARD_DIGITS - digits) * max(1, abs(scale)))


def _same_constant(gold: Node, answer: Node) -> bool:
    sizes = []
    for node in (gold, answer):
        try:
            sizes.append(abs(evaluate(node, FEW_DIGITS, {})))
        except TooLarge:
            sizes.append(None)
        except NotANumber:
            return False
    if None in sizes:
        if sizes == [None, None]:
            raise Undecided("both are beyond the bounds on magnitude")
        return False
    mp = context(FEW_DIGITS)
    magnitude = max(mp.mag(size) if size else 0 for size in sizes) * 0.302  # decimal digits before the point
    if abs(sizes[0] - sizes[1]) > max(sizes) * mp.mpf(10) ** -10 and min(sizes) > 0:
        return False
    digits = MANY_DIGITS + max(0, int(magnitude))
    if digits > MAX_DIGITS:
        raise Undecided("too many digits")
    smallest = max(sizes) < mp.mpf(10) ** -30  # a relative comparison needs more digits than the value has zeros
    return _agree(gold, answer, MAX_DIGITS if smallest else digits)


def _agree(gold: Node, answer: Node, digits: int) -> bool:
    for precision in (FEW_DIGITS, digits):
        one, other = evaluate(gold, precision, {}), evaluate(answer, precision, {})
        if not vanishes(one - other, max(abs(one), abs(other)), precision):
            return False
    return bool(abs(one - other) < context(digits).mpf(10) ** -GUARD_DIGITS)


def _same_function(gold: Node, answer: Node) -> bool:
    compared = values_at([gold, answer])
    if any(not vanishes(one - other, max(abs(one), abs(other))) for one, other in compared):
        return False
    if not (_has_value(gold) and _has_value(answer)):
        return False  # what has no value is the same only as what is written the same
    if len(compared) < LEAST_POINTS:
        raise Undecided("too few points at which both have a value")
    return True


def _has_value(node: Node) -> bool:
    names, whole = sorted(symbols(node)), _whole_symbols(node)
    for point in range(POINTS):
        try:
            evaluate(node, FEW_DIGITS, _assignment(names, whole, point))
        except NotANumber:
            continue
        except TooLarge:
            pass
        return True
    return False


def _assignment(names: list[str], whole: set[str], point: int) -> Assignment:
    """Rational values for variables: positive at first, of either sign later; whole where a sum's bound asks for it."""
    generator = random.Random(point)
    values = {}
    for name in names:
        value = SCALES[point % POINTS] * Fraction(generator.randint(100_003, 2_000_003), 1_000_003)
        sign = -1 if point >= POINTS // 2 and generator.random() < 0.6 else 1
        values[name] = Fraction(generator.randint(3, 9)) if name in whole else sign * value
    return values


def _whole_symbols(node: Node) -> set[str]:
    """Variables that stand for whole numbers: in the bounds of sums and products, in factorials and binomials."""
    below = set().union(*map(_whole_symbols, children(node)))
    if isinstance(node, Call) and node.name in ("sum", "prod"):
        return below | symbols(node.arguments[1]) | symbols(node.arguments[2])
    if isinstance(node, Call) and node.name in ("factorial", "binom"):
        return below | symbols(node)
    return below


def _is_unreal(value: Value) -> bool:
    imaginary = getattr(value, "imag", 0)
    return bool(abs(imaginary) > context(MANY_DIGITS).mpf(10) ** -60)


def _rounded(decimal: Node, node: Node) -> bool:
    """Whether a long decimal is the rounding, or the beginning, of a value without a finite decimal spelling."""
    if isinstance(node, Number):
        return False
    value = exact(node)
    if value is not None and _has_finite_decimals(value):
        return False
    return shows_digits(decimal, node, ROUNDED_DIGITS)


def shows_digits(decimal: Node, node: Node, least_digits: int) -> bool:
    """Whether a decimal of at least so many digits is a value's rounding, or its beginning.

    From FLOAT_DIGITS on its last digit may be off by one: so are numbers that a program printed.
    """
    sign = 1
    while isinstance(decimal, Call) and decimal.name == "neg":
        decimal, sign = decimal.arguments[0], -sign
    if not isinstance(decimal, Number) or decimal.digits < least_digits:
        return False
    precision = FEW_DIGITS + decimal.digits
    try:
        beyond = sign * evaluate(node, precision, {}) - evaluate(decimal, precision, {})
    except (NotANumber, TooLarge):
        return False
    if getattr(beyond, "imag", 0):
        return False
    mp = context(precision)
    beyond = beyond.real * mp.mpf(10) ** decimal.decimals  # in units of the last digit
    if decimal.digits >= FLOAT_DIGITS:
        return bool(abs(beyond) < 1)
    return bool(-mp.mpf(1) / 2 <= beyond < 1)


def _has_finite_decimals(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


INFINITY = Symbol("infinity")
