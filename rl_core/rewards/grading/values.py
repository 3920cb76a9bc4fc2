"""What an expression is worth: exactly, as a rational number, or to as many digits as are asked for.

No floats: irrational values are computed to a stated number of digits, and everything that could take long or grow
large is bounded before it is computed.
"""

import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from math import comb, factorial, gcd, lcm
from typing import Any

import mpmath

from rl_core.rewards.grading.nodes import Call, Matrix, Node, NotANumber, Number, Symbol, TooLarge, Undecided

MAX_EXACT_BITS = 20_000  # of a numerator or denominator; beyond, values are computed to digits
MAX_EXACT_FACTORIAL = 1000
MAX_EXPONENT_BITS = 10_000_000  # magnitudes stay below 2 to this, about 10^3,000,000
MAX_ANGLE = 10**12
MAX_FACTORIAL = 300_000
MAX_TERMS = 500  # of a sum or a product
MAX_DETERMINANT = 6

Value = Any  # a number of mpmath, real or complex; mpmath has no types
Assignment = Mapping[str, Fraction]

_LOCAL = threading.local()


def context(digits: int) -> Any:
    """An mpmath context of this thread alone, set to `digits` decimal digits."""
    if not hasattr(_LOCAL, "context"):
        _LOCAL.context = mpmath.mp.clone()
    _LOCAL.context.dps = digits
    return _LOCAL.context


def exact(node: Node) -> Fraction | None:
    """The exact value of a rational expression without variables; None when it is none, or too large for it.

    Raises:
        NotANumber: a division by zero.
    """
    if isinstance(node, Number):
        return node.value
    if not isinstance(node, Call) or node.name not in _EXACT:
        return None
    arguments = []
    for argument in node.arguments:
        value = exact(argument)
        if value is None or value.numerator.bit_length() + value.denominator.bit_length() > MAX_EXACT_BITS:
            return None
        arguments.append(value)
    return _EXACT[node.name](*arguments)


def evaluate(node: Node, digits: int, assignment: Assignment) -> Value:
    """The value of an expression to about `digits` digits, its variables replaced as `assignment` says.

    Raises:
        NotANumber: it is not a number.
        TooLarge: a value on the way passes the bounds.
        Undecided: it holds what cannot be evaluated, or not within the bounds.
    """
    return _Evaluator(context(digits), assignment).value(node)


def symbols(node: Node) -> set[str]:
    """The variables of a tree, without constants and without the indices of sums."""
    if isinstance(node, Symbol):
        return set() if node.name in CONSTANTS else {node.name}
    if isinstance(node, Call):
        if node.name in ("sum", "prod") and isinstance(node.arguments[0], Symbol):
            return set().union(*map(symbols, node.arguments[1:])) - {node.arguments[0].name}
        found = set().union(*map(symbols, node.arguments))
        return found | {node.name} if node.name.startswith("apply ") else found
    if isinstance(node, Number):
        return set()
    return set().union(*map(symbols, children(node)))


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below a node."""
    if isinstance(node, Matrix):
        return tuple(item for row in node.rows for item in row)
    for name in ("arguments", "items", "terms"):
        if hasattr(node, name):
            return tuple(getattr(node, name))
    return ()


def is_complex(node: Node) -> bool:
    """Whether the imaginary unit stands in a tree."""
    if isinstance(node, Call) and node.name == "cis":
        return True
    return (isinstance(node, Symbol) and node.name == "i") or any(map(is_complex, children(node)))


CONSTANTS = frozenset(("pi", "e", "i", "infinity"))


class _Evaluator:
    def __init__(self, mp: Any, assignment: Assignment) -> None:
        self._mp, self._assignment = mp, assignment

    def value(self, node: Node) -> Value:
        if isinstance(node, Number):
            return self._fraction(node.value)
        if isinstance(node, Symbol):
            return self._symbol(node.name)
        if not isinstance(node, Call):
            raise NotANumber(type(node).__name__)
        if node.name in ("sum", "prod"):
            return self._series(node)
        if node.name == "determinant":
            return self._determinant(node.arguments[0])
        arguments = [self.value(argument) for argument in node.arguments]
        if node.name.startswith("apply "):
            return self._unknown_function(node.name, arguments)
        operation = OPERATIONS.get(node.name)
        if operation is None:
            raise Undecided(node.name)
        try:
            return self._checked(operation(self._mp, *arguments))
        except (ZeroDivisionError, ValueError, TypeError) as problem:  # mpmath's: no value there
            raise NotANumber(f"{node.name}: {problem}") from None
        except (OverflowError, mpmath.libmp.NoConvergence):
            raise TooLarge(node.name) from None

    def _fraction(self, value: Fraction) -> Value:
        return self._mp.mpf(value.numerator) / value.denominator

    def _symbol(self, name: str) -> Value:
        if name in self._assignment:
            return self._fraction(self._assignment[name])
        if name == "infinity":
            raise NotANumber("infinity")
        constants = {"pi": self._mp.pi, "e": self._mp.e, "i": self._mp.j}
        if name not in constants:
            raise NotANumber(name)
        return +constants[name]

    def _checked(self, value: Value) -> Value:
        mp = self._mp
        if not mp.isfinite(value):
            raise NotANumber("not finite")
        if value and mp.mag(value) > MAX_EXPONENT_BITS:
            raise TooLarge("magnitude")
        return value

    def _unknown_function(self, name: str, arguments: list[Value]) -> Value:
        """A value that depends on the function and its arguments alone, smoothly, and on nothing else."""
        seed = self._fraction(self._assignment.get(name, Fraction(1, 3)))
        return sum(self._mp.sin(argument * (seed + place)) for place, argument in enumerate(arguments, 1)) + seed

    def _series(self, node: Call) -> Value:
        index, start, end, body = node.arguments
        if not isinstance(index, Symbol):
            raise Undecided(node.name)
        bounds = [self.value(bound) for bound in (start, end)]
        if any(self._mp.im(bound) or self._mp.re(bound) != int(self._mp.re(bound)) for bound in bounds):
            raise Undecided("a bound that is not whole")
        first, last = (int(self._mp.re(bound)) for bound in bounds)
        if last - first >= MAX_TERMS:
            raise Undecided(f"{last - first + 1} terms")
        total = self._mp.mpf(0 if node.name == "sum" else 1)
        for position in range(first, last + 1):
            term = _Evaluator(self._mp, {**self._assignment, index.name: Fraction(position)}).value(body)
            total = self._checked(total + term if node.name == "sum" else total * term)
        return total

    def _determinant(self, node: Node) -> Value:
        if not isinstance(node, Matrix) or len(node.rows) != len(node.rows[0]) or len(node.rows) > MAX_DETERMINANT:
            raise Undecided("determinant")
        matrix = self._mp.matrix([[self.value(item) for item in row] for row in node.rows])
        return self._checked(self._mp.det(matrix))


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return None
    if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > MAX_EXACT_BITS:
        return None
    if not base and exponent < 0:
        raise NotANumber("division by zero")
    return base ** int(exponent)


def _exact_quotient(above: Fraction, below: Fraction) -> Fraction:
    if not below:
        raise NotANumber("division by zero")
    return above / below


def _exact_factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or not 0 <= value <= MAX_EXACT_FACTORIAL:
        return None
    return Fraction(factorial(int(value)))


def _exact_binomial(above: Fraction, below: Fraction) -> Fraction | None:
    if above.denominator != 1 or below.denominator != 1 or not 0 <= below <= above <= MAX_EXACT_FACTORIAL:
        return None
    return Fraction(comb(int(above), int(below)))


def _exact_modulo(value: Fraction, modulus: Fraction) -> Fraction:
    if not modulus:
        raise NotANumber("division by zero")
    return value % modulus


_EXACT: dict[str, Callable[..., Fraction | None]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "degrees": lambda a: a,
    "abs": abs,
    "floor": lambda a: Fraction(a.__floor__()),
    "ceiling": lambda a: Fraction(a.__ceil__()),
    "div": _exact_quotient,
    "pow": _exact_power,
    "mod": _exact_modulo,
    "factorial": _exact_factorial,
    "binom": _exact_binomial,
}


def _power(mp: Any, base: Value, exponent: Value) -> Value:
    if base and abs(mp.mag(base)) * abs(exponent) > MAX_EXPONENT_BITS:
        raise TooLarge("power")
    if not base and not exponent:
        return mp.mpf(1)
    return mp.power(base, exponent)


def _root(mp: Any, value: Value, degree: Value) -> Value:
    odd = not mp.im(degree) and degree == int(mp.re(degree)) and int(mp.re(degree)) % 2
    if odd and not mp.im(value) and mp.re(value) < 0:  # the real root, as schools have it
        return -mp.power(-value, 1 / degree)
    return mp.power(value, 1 / degree)


def _exponential(mp: Any, value: Value) -> Value:
    if abs(value) > MAX_EXPONENT_BITS:
        raise TooLarge("exponential")
    return mp.exp(value)


def _factorial(mp: Any, value: Value) -> Value:
    if abs(value) > MAX_FACTORIAL:
        raise TooLarge("factorial")
    return mp.gamma(value + 1)


def _binomial(mp: Any, above: Value, below: Value) -> Value:
    if max(abs(above), abs(below)) > MAX_FACTORIAL:
        raise TooLarge("binomial")
    return mp.binomial(above, below)


def _logarithm(mp: Any, value: Value, base: Value | None = None) -> Value:
    return mp.log(value) if base is None else mp.log(value) / mp.log(base)


def _angle(name: str) -> Callable[..., Value]:
    def function(mp: Any, value: Value) -> Value:
        if abs(value) > MAX_ANGLE:
            raise Undecided("an angle beyond the bounds")
        return getattr(mp, name)(value)

    return function


def _plain(name: str) -> Callable[..., Value]:
    return lambda mp, value: getattr(mp, name)(value)


def _whole_numbers(operation: Callable[..., int]) -> Callable[..., Value]:
    def function(mp: Any, *values: Value) -> Value:
        if any(mp.im(value) or mp.re(value) != int(mp.re(value)) for value in values):
            raise Undecided("whole numbers expected")
        return mp.mpf(operation(*(int(mp.re(value)) for value in values)))

    return function


def _extreme(choose: Callable[..., Value]) -> Callable[..., Value]:
    return lambda mp, *values: choose(mp.re(value) for value in values)


OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": lambda mp, a, b: a + b,
    "sub": lambda mp, a, b: a - b,
    "mul": lambda mp, a, b: a * b,
    "div": lambda mp, a, b: a / b,
    "neg": lambda mp, a: -a,
    "degrees": lambda mp, a: a,
    "pow": _power,
    "mod": lambda mp, a, b: a - b * mp.floor(a / b),
    "sqrt": _plain("sqrt"),
    "root": _root,
    "abs": lambda mp, a: abs(a),
    "floor": _plain("floor"),
    "ceiling": _plain("ceil"),
    "factorial": _factorial,
    "binom": _binomial,
    "exp": _exponential,
    "log": _logarithm,
    "lg": lambda mp, value: mp.log(value) / mp.log(10),
    "gcd": _whole_numbers(gcd),
    "lcm": _whole_numbers(lcm),
    "max": _extreme(max),
    "min": _extreme(min),
    "Re": _plain("re"),
    "Im": _plain("im"),
    **{name: _angle(name) for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    "cis": lambda mp, value: _angle("cos")(mp, value) + mp.j * _angle("sin")(mp, value),
    **{
        name: _plain(function)
        for name, function in {
            "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec", "arccsc": "acsc",
            "tanh": "tanh", "coth": "coth", "arsinh": "asinh", "arcosh": "acosh", "artanh": "atanh",
        }.items()
    },
    **{name: lambda mp, a, name=name: _bounded_hyperbolic(mp, name, a) for name in ("sinh", "cosh", "sech", "csch")},
}  # fmt: skip


def _bounded_hyperbolic(mp: Any, name: str, value: Value) -> Value:
    if abs(value) > MAX_EXPONENT_BITS:
        raise TooLarge(name)
    return getattr(mp, name)(value)
