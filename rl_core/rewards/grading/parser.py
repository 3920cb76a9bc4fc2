r"""From tokens to a tree: recursive descent, one method per level of the grammar, weakest binding first.

    list      relation , relation ...            and, or and ; separate as well
    relation  ratio (= < \le \in ...) ratio ...
    ratio     union : union ...
    union     sum (\cup | \cap | \setminus) sum ...
    sum       term (+ | - | \pm | \mp) term ...
    term      factor (\cdot | \times | / | nothing) factor ...
    factor    signs, then an atom with ! ' ^ behind it

Functions without brackets take the factors behind them, up to a sign or the next function: \sin 2x is sin(2x), and
\sin b \cos a is sin(b) cos(a). An integer right before a fraction of integers is a mixed number.
"""

import re
from fractions import Fraction

from rl_core.rewards.grading.nodes import (
    Based,
    Call,
    Matrix,
    Node,
    NotUnderstood,
    Number,
    Relation,
    Sequence,
    Symbol,
    Words,
)
from rl_core.rewards.grading.tokens import FUNCTIONS, Token, tokenize

MAX_DEPTH = 40  # of brackets within brackets, which bounds the recursion
MAX_TOKENS = 1200
MAX_LITERAL_DIGITS = 2000
MAX_LITERAL_EXPONENT = 2000

RELATIONS = {
    "=": "=", "equiv": "=", "approx": "~", "<": "<", ">": ">", "le": "<=", "ge": ">=", "<=": "<=", ">=": ">=",
    "ne": "!=", "!=": "!=", "in": "in",
}  # fmt: skip
SET_OPERATIONS = {"cup": "union", "cap": "intersection", "setminus": "difference", "choose": "binom"}
PRODUCTS = {"cdot": "mul", "times": "mul", "*": "mul", "/": "div", "div": "div", "bmod": "mod", "mod": "mod"}
MODIFIERS = frozenset("overline bar vec hat tilde dot ddot mathcal mathbf underline overrightarrow widehat".split())
ENVIRONMENTS = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix vmatrix Vmatrix array cases".split())
CONSTANTS = {"pi": "pi", "infty": "infinity", "mathbb": "mathbb"}
INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
            "sinh": "arsinh", "cosh": "arcosh", "tanh": "artanh"}  # fmt: skip
SYNONYMS = {"arcsinh": "arsinh", "arccosh": "arcosh", "arctanh": "artanh", "asin": "arcsin", "acos": "arccos",
            "atan": "arctan", "ln": "log", "det": "determinant"}  # fmt: skip
TRIGONOMETRIC = frozenset(("sin", "cos", "tan", "cot", "sec", "csc", "cis"))
FUNCTION_LETTERS = frozenset("fghFG")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def parse(text: str) -> Node:
    """The tree of a clean answer.

    Raises:
        NotUnderstood: it is not in the notation, or nested or long beyond the bounds.
    """
    tokens = tokenize(text)
    if len(tokens) > MAX_TOKENS:
        raise NotUnderstood(f"{len(tokens)} tokens, more than {MAX_TOKENS}")
    if len(tokens) == 1:
        raise NotUnderstood("nothing is left of it")
    parser = _Parser(tokens)
    tree = parser.list_of()
    if tree == Sequence("", (), ""):
        raise NotUnderstood("nothing but separators")
    if parser.peek().kind != "end":
        raise NotUnderstood(f"{parser.peek().text!r} at {parser.peek().start}")
    return tree


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens, self._at, self._depth, self._bars = tokens, 0, 0, 0

    def peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _next(self) -> Token:
        token = self.peek()
        self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        token = self.peek()
        return token.kind in ("sign", "command") and token.text in texts

    def _take(self, *texts: str) -> bool:
        if self._is(*texts):
            self._at += 1
            return True
        return False

    def _expect(self, *texts: str) -> str:
        if not self._is(*texts):
            raise NotUnderstood(f"{' or '.join(texts)} expected at {self.peek().start}, not {self.peek().text!r}")
        return self._next().text

    def list_of(self) -> Node:
        items = []
        while True:
            while self._take(",", "quad"):
                pass  # an empty place, as in `19, 46, and 82`
            if self._ends():
                break
            items.append(self._relation())
            if not self._is(","):
                break
        if not items:
            return Sequence("", (), "")
        return items[0] if len(items) == 1 else Sequence("", tuple(items), "")

    def _ends(self) -> bool:
        return self.peek().kind == "end" or self._is(")", "]", "}", "\\}", "&", "\\", "end")

    def _relation(self) -> Node:
        terms, operators = [self._ratio()], []
        while self.peek().kind in ("sign", "command") and self.peek().text in RELATIONS:
            operators.append(RELATIONS[self._next().text])
            terms.append(self._ratio())
        return Relation(tuple(terms), tuple(operators)) if operators else terms[0]

    def _ratio(self) -> Node:
        parts = [self._union()]
        while self._take(":"):
            parts.append(self._union())
        return Sequence(":", tuple(parts), ":") if len(parts) > 1 else parts[0]

    def _union(self) -> Node:
        left = self._sum()
        while self.peek().kind == "command" and self.peek().text in SET_OPERATIONS:
            left = Call(SET_OPERATIONS[self._next().text], (left, self._sum()))
        return left

    def _sum(self) -> Node:
        left = self._term()
        while self._is("+", "-", "pm", "mp"):
            name = {"+": "add", "-": "sub"}.get(self.peek().text, self.peek().text)
            self._next()
            left = Call(name, (left, self._term()))
        return left

    def _term(self) -> Node:
        left = last = self._signed()
        while True:
            token = self.peek()
            if token.kind in ("sign", "command") and token.text in PRODUCTS:
                self._next()
                last = self._signed()
                left = Call(PRODUCTS[token.text], (left, last))
            elif self._starts_factor() and not (token.kind == "number" and _is_literal(last)):
                mixed = left is last and self._is("frac")
                last = self._power()
                left = (_mixed_number(left, last) if mixed else None) or Call("mul", (left, last))
            else:
                return left

    def _starts_factor(self) -> bool:
        token = self.peek()
        if token.kind in ("number", "name"):
            return True
        if token.kind == "sign":
            return token.text in ("(", "[", "{", "\\{") or (token.text == "|" and not self._bars)
        return token.kind == "command" and token.text not in NOT_FACTORS

    def _signed(self) -> Node:
        if self._take("+"):
            return self._signed()
        if self._take("-"):
            return Call("neg", (self._signed(),))
        if self._is("pm", "mp"):
            return Call(self._next().text, (Number(Fraction(0)), self._signed()))
        return self._power()

    def _power(self) -> Node:
        node = self._atom()
        while True:
            if self._take("!"):
                if self._is("!"):
                    raise NotUnderstood("a double factorial")
                node = Call("factorial", (node,))
            elif self._take("'") or (self._is("^") and self.peek(1).text == "prime" and self._skip(2)):
                node = _primed(node)
            elif self._is("^") and self.peek(1).text in ("circ", "degree"):
                self._skip(2)
                node = Call("degrees", (node,))
            elif self._is("^") and [self.peek(ahead).text for ahead in (1, 2, 3)] in (
                ["{", "circ", "}"],
                ["{", "prime", "}"],
            ):
                node = Call("degrees", (node,)) if self.peek(2).text == "circ" else _primed(node)
                self._skip(4)
            elif self._take("^"):
                exponent = self._argument()
                if isinstance(node, Symbol) and self._is("_"):
                    node = Symbol(node.name + self._subscript())
                node = Call("pow", (node, exponent))
            else:
                return node

    def _skip(self, count: int) -> bool:
        self._at += count
        return True

    def _argument(self) -> Node:
        """What a command or ^ applies to: a group in braces, or one factor without its exponent."""
        if self._is("{", "\\{"):
            return self._bracketed()
        if self._take("-"):
            return Call("neg", (self._argument(),))
        if self.peek().kind == "number":
            return _literal(self._next().text.replace(",", "").replace(" ", ""))
        if self.peek().kind == "name" and self.peek(1).text in ("_", "^"):
            return Symbol(self._next().text)  # what follows belongs to what the command or ^ stands at
        return self._atom()

    def _atom(self) -> Node:
        token = self.peek()
        if token.kind == "number":
            return self._number()
        if token.kind == "name":
            return self._name(self._next().text)
        if token.kind == "words":
            self._next()
            return Words(" ".join(token.text.casefold().split()) + self._subscript())
        if self._is("(", "[", "{", "\\{"):
            return self._bracketed()
        if self._is("|", "lvert"):
            return self._absolute()
        if token.kind == "command":
            return self._command(self._next().text)
        raise NotUnderstood(f"{token.text!r} at {token.start}")

    def _number(self) -> Node:
        text = self._next().text.replace(",", "").replace(" ", "")
        if self._is("_"):
            self._next()
            base = self._argument()
            if not isinstance(base, Number) or not _DIGITS.fullmatch(text) or base.value.denominator != 1:
                raise NotUnderstood("a base that is no number")
            return Based(text, int(base.value))
        return _literal(text)

    def _name(self, letter: str) -> Node:
        subscript, primes = "", ""
        while self._is("_", "'"):
            if self._take("'"):
                primes += "'"
            else:
                subscript += self._subscript()
        name = letter + subscript + primes
        opens = self._is("(") or (self._is("{") and self.peek(1).text == "(")
        if opens and (letter in FUNCTION_LETTERS or self._is_at_zero()):
            argument = self._bracketed()
            items = argument.items if isinstance(argument, Sequence) else (argument,)
            return Call("apply " + name, items)
        return Symbol(name)

    def _is_at_zero(self) -> bool:
        """Whether `(0)` follows, which is a value at zero behind any letter: nobody writes a product with it."""
        return [self.peek(ahead).text for ahead in range(3)] == ["(", "0", ")"]

    def _subscript(self) -> str:
        if not self._take("_"):
            return ""
        if not self._is("{"):
            return "_" + self._next().text
        pieces, depth = [], 0
        while True:
            token = self._next()
            depth += {"{": 1, "}": -1}.get(token.text, 0)
            if token.kind == "end":
                raise NotUnderstood("a subscript that never ends")
            pieces.append(token.text)
            if not depth:
                return "_" + "".join(pieces[1:-1])

    def _bracketed(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotUnderstood(f"nested more than {MAX_DEPTH} deep")
        bars, self._bars = self._bars, 0
        opening = self._next().text
        if self._is(","):
            raise NotUnderstood(f"a separator behind {opening}")
        content = self.list_of()
        closing = self._expect(*_closings(opening))
        self._bars = bars
        self._depth -= 1
        return _enclosed(opening, content, closing)

    def _absolute(self) -> Node:
        closing = "rvert" if self._next().text == "lvert" else "|"
        self._bars += 1
        content = self._sum()
        self._expect(closing)
        self._bars -= 1
        return Call("abs", (content,))

    def _command(self, name: str) -> Node:
        if name in ("frac", "binom"):
            return Call("div" if name == "frac" else name, (self._argument(), self._argument()))
        if name == "sqrt":
            return self._root()
        if name in FUNCTIONS:
            return self._function(SYNONYMS.get(name, name))
        if name in ("lfloor", "lceil"):
            content = self._sum()
            self._expect("rfloor" if name == "lfloor" else "rceil")
            return Call("floor" if name == "lfloor" else "ceiling", (content,))
        if name in ("sum", "prod"):
            return self._series(name)
        if name == "begin":
            return self._environment()
        if name in MODIFIERS:
            return Symbol(f"{name} {_letters_of(self._argument())}" + self._subscript())
        if name in ("angle", "triangle"):
            return self._power()
        if name == "mathbb":
            return Symbol("set " + _letters_of(self._argument()))
        if name in ("emptyset",):
            return Sequence("{", (), "}")
        if name in NOT_FACTORS or name in UNSUPPORTED:
            raise NotUnderstood(f"\\{name}")
        return Symbol(CONSTANTS.get(name, "\\" + name) + self._subscript())

    def _root(self) -> Node:
        if self._take("["):
            degree = self._sum()
            self._expect("]")
            return Call("root", (self._argument(), degree))
        return Call("sqrt", (self._argument(),))

    def _function(self, name: str) -> Node:
        base = power = None
        while self._is("_", "^"):
            if self._next().text == "_":
                base = self._argument()
            else:
                power = self._argument()
        if power == Call("neg", (Number(Fraction(1)),)) and name in INVERSES:
            name, power = INVERSES[name], None
        argument = self._function_argument()
        items = argument.items if isinstance(argument, Sequence) and argument.opening in ("(", "{") else (argument,)
        if name in TRIGONOMETRIC:
            items = tuple(_in_radians(item) for item in items)
        node: Node = Call(name, items if base is None else (*items, base))
        return node if power is None else Call("pow", (node, power))

    def _function_argument(self) -> Node:
        if self._is("(", "{", "["):
            return self._bracketed()
        argument = self._signed()
        while self._starts_factor() and self.peek().kind != "number" and self.peek().text not in FUNCTIONS:
            argument = Call("mul", (argument, self._power()))
        return argument

    def _series(self, name: str) -> Node:
        bounds: dict[str, Node] = {}
        for _ in range(2):
            place = self._expect("_", "^")
            bounds[place] = self._argument()
        start, end = bounds.get("_"), bounds.get("^")
        if (
            end is None
            or not isinstance(start, Relation)
            or start.operators != ("=",)
            or not isinstance(start.terms[0], Symbol)
        ):
            raise NotUnderstood(f"\\{name} without an index")
        return Call(name, (start.terms[0], start.terms[1], end, self._term()))

    def _environment(self) -> Node:
        name = self._environment_name()
        if name == "array" and self._is("{"):
            while self._next().text != "}" and self.peek().kind != "end":
                pass
        rows: list[tuple[Node, ...]] = []
        while not self._take("end"):
            row = [self.list_of()]
            while self._take("&"):
                row.append(self.list_of())
            rows.append(tuple(row))
            if not self._take("\\") and not self._is("end"):
                raise NotUnderstood(f"{self.peek().text!r} in a matrix")
        self._environment_name()
        rows = [row for row in rows if row != (Sequence("", (), ""),)]
        if name == "cases":
            return Sequence("", tuple(item for row in rows for item in row), "")
        if not rows or len({len(row) for row in rows}) > 1:
            raise NotUnderstood("a matrix with rows of different lengths")
        return Call("determinant", (Matrix(tuple(rows)),)) if name == "vmatrix" else Matrix(tuple(rows))

    def _environment_name(self) -> str:
        self._expect("{")
        letters = ""
        while not self._take("}"):
            token = self._next()
            if token.kind == "end":
                raise NotUnderstood("an environment that never ends")
            letters += token.text
        if letters not in ENVIRONMENTS:
            raise NotUnderstood(f"environment {letters}")
        return letters


UNSUPPORTED = frozenset(
    """
    int iint oint lim partial nabla ldots dots cdots vdots ddots exists forall to rightarrow Rightarrow implies iff
    mapsto pmod text not subset subseteq supset nmid parallel perp sim propto overbrace underbrace tag label
    sup inf circ prime infin because therefore
    """.split()
)
NOT_FACTORS = frozenset(
    [
        *RELATIONS,
        *SET_OPERATIONS,
        *PRODUCTS,
        "pm",
        "mp",
        "rvert",
        "rfloor",
        "rceil",
        "end",
        "\\",
        "circ",
        "prime",
        "quad",
    ]
)


def _literal(text: str) -> Number:
    mantissa, _, exponent = text.replace("E", "e").partition("e") if "\\" not in text else (text, "", "")
    mantissa, _, repeating = mantissa.replace(" ", "").partition("\\overline{")
    whole, point, decimals = mantissa.rstrip(".").partition(".") if not repeating else mantissa.partition(".")
    repeating = repeating.removesuffix("}")
    if not (whole + decimals + repeating).isdigit():
        raise NotUnderstood("a number with more than digits in it")
    if len(whole) + len(decimals) > MAX_LITERAL_DIGITS or abs(int(exponent[:9] or 0)) > MAX_LITERAL_EXPONENT:
        raise NotUnderstood("a number beyond the bounds")
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    if repeating:
        value += Fraction(int(repeating), (10 ** len(repeating) - 1) * 10 ** len(decimals))
        return Number(value)
    power = int(exponent or 0)
    digits = len((whole + decimals).lstrip("0")) if point else 0
    return Number(value * Fraction(10) ** power, len(decimals) - power, digits)


def _is_literal(node: Node) -> bool:
    """Whether a node was written as digits, behind which another number cannot be told from a mistake."""
    return isinstance(node, (Number, Based))


def _whole(node: Node) -> bool:
    return isinstance(node, Number) and node.value.denominator == 1 and not node.digits


def _proper(node: Node) -> bool:
    """Whether a node is a fraction of whole numbers below one: what makes the number before it a mixed number."""
    if not isinstance(node, Call) or node.name != "div":
        return False
    above, below = node.arguments
    if not (isinstance(above, Number) and isinstance(below, Number) and _whole(above) and _whole(below)):
        return False
    return 0 < above.value < below.value


def _mixed_number(whole: Node, fraction: Node) -> Node | None:
    r"""What `2\frac13` and `-2\frac13` are; None where the two make no mixed number."""
    if isinstance(whole, Call) and whole.name == "neg":
        positive = _mixed_number(whole.arguments[0], fraction)
        return positive and Call("neg", (positive,))
    return Call("add", (whole, fraction)) if _whole(whole) and _proper(fraction) else None


def _primed(node: Node) -> Node:
    """A derivative, or another name; minutes, feet and what else a prime behind a number may be are not told apart."""
    if isinstance(node, Symbol):
        return Symbol(node.name + "'")
    if isinstance(node, Call) and node.name.startswith(("apply ", "prime")):
        return Call("prime", (node,))
    raise NotUnderstood("a prime behind what is no function")


def _closings(opening: str) -> tuple[str, ...]:
    return {"(": (")", "]"), "[": ("]", ")"), "{": ("}", "\\}"), "\\{": ("\\}", "}")}[opening]


def _enclosed(opening: str, content: Node, closing: str) -> Node:
    brackets = ("{", "}") if opening in ("{", "\\{") else (opening, closing)
    if isinstance(content, Sequence) and content.opening == "":
        if not content.items and brackets == ("{", "}") and opening == "{":
            raise NotUnderstood("an empty group")
        return Sequence(brackets[0], content.items, brackets[1])
    if brackets in (("(", ")"), ("{", "}")) or brackets == ("[", "]"):
        return content
    raise NotUnderstood("an interval with one end")


def _letters_of(node: Node) -> str:
    if isinstance(node, Symbol):
        return node.name
    if isinstance(node, Words):
        return node.text
    if isinstance(node, Call) and node.name == "mul":
        return "".join(_letters_of(argument) for argument in node.arguments)
    raise NotUnderstood("a name expected")


def _in_radians(node: Node) -> Node:
    if not isinstance(node, Call):
        return node
    if node.name == "degrees":
        return Call("div", (Call("mul", (node.arguments[0], Symbol("pi"))), Number(Fraction(180))))
    return Call(node.name, tuple(_in_radians(argument) for argument in node.arguments))
