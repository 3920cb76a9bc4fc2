"""When two answers are the same answer: lists, sets, tuples, matrices, relations and numbers.

Sets and bare lists have no order, tuples, intervals, matrices and ratios have one. An answer with more values than
the gold answer, or fewer, is wrong, whatever else it holds.
"""

from functools import reduce

from rl_core.rewards.grading.nodes import (
    Based,
    Call,
    Matrix,
    Node,
    Number,
    Relation,
    Sequence,
    Symbol,
    Undecided,
    Words,
)
from rl_core.rewards.grading.numerics import INFINITY, same_number
from rl_core.rewards.grading.relations import (
    FLIPPED,
    Contradiction,
    Item,
    read_item,
    same_equation,
    same_inequality,
    same_name,
    walk,
)
from rl_core.rewards.grading.sets import is_real_set, same_set
from rl_core.rewards.grading.values import symbols

MAX_ITEMS = 40  # of unordered lists, whose comparison is quadratic


def equivalent(gold: Node, answer: Node) -> bool:
    """Whether an answer says what the gold answer says.

    Raises:
        Undecided: the two could not be compared within the bounds.
    """
    if gold == answer:
        return True
    try:
        answers = _items(answer)
    except Contradiction:
        return False
    try:
        golds = _items(gold)
    except Contradiction:
        raise Undecided("the gold answer contradicts itself") from None
    if not golds or not answers:
        return len(golds) == len(answers)  # the empty set, however it is written
    if len(golds) == len(answers) == 1:
        return _same_item(golds[0], answers[0])
    if len(golds) == len(answers):
        in_order = bool(_letters(golds)) != bool(_letters(answers))
        return all(map(_same_item, golds, answers)) if in_order else _same_unordered(golds, answers)
    if len(golds) > 1 and len(answers) > 1:
        return _same_with_repetitions(golds, answers)
    if len(golds) == 1:
        return _same_as_list(golds[0].value, answer, answers) or _same_as_set(golds[0].value, answer)
    return _same_as_list(answers[0].value, gold, golds) or _same_as_set(answers[0].value, gold)


def contradicts_itself(node: Node) -> bool:
    """Whether an answer says two things, as `43 = 42` does."""
    try:
        _items(node)
    except Contradiction:
        return True
    return False


def _items(node: Node) -> list[Item]:
    """The values that an answer lists; of a name it is given once, all that follow bear it."""
    listed = node.items if isinstance(node, Sequence) and node.opening in ("", "{") else (node,)
    items: list[Item] = []
    for variant in (variant for item in listed for variant in _variants(item)):
        item = read_item(variant)
        if items and item.name is None and item.relation is None:
            item = Item(item.value, items[-1].name)
        items.append(item)
    return items


def _variants(node: Node) -> list[Node]:
    """What plus-minus signs stand for: all upper signs, and all lower ones."""
    if not any(isinstance(below, Call) and below.name in ("pm", "mp") for below in walk(node)):
        return [node]
    upper, lower = _signed(node, "add", "sub"), _signed(node, "sub", "add")
    return [upper, lower]


def _signed(node: Node, plus: str, minus: str) -> Node:
    if isinstance(node, Call):
        name = {"pm": plus, "mp": minus}.get(node.name, node.name)
        return Call(name, tuple(_signed(item, plus, minus) for item in node.arguments))
    if isinstance(node, Sequence):
        return Sequence(node.opening, tuple(_signed(item, plus, minus) for item in node.items), node.closing)
    if isinstance(node, Relation):
        return Relation(tuple(_signed(item, plus, minus) for item in node.terms), node.operators)
    return node


def _letters(items: list[Item]) -> tuple[str, ...]:
    """The variables of a list in which each value is that of another one, whose order a bare list has to keep.

    Empty where one variable has several values, whatever their subscripts: those have no order.
    """
    names = [item.name.name.partition("_")[0] if isinstance(item.name, Symbol) else "" for item in items]
    return tuple(names) if all(names) and len(set(names)) == len(names) else ()


def _same_unordered(golds: list[Item], answers: list[Item]) -> bool:
    if len(golds) > MAX_ITEMS:
        raise Undecided(f"a list of {len(golds)}")
    left = list(answers)
    for gold in golds:
        found = next((place for place, answer in enumerate(left) if _same_item(gold, answer)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same_with_repetitions(golds: list[Item], answers: list[Item]) -> bool:
    """Whether two lists of different lengths, of at least two values, hold the same ones: one of them repeats some."""
    if max(len(golds), len(answers)) > MAX_ITEMS:
        raise Undecided(f"a list of {max(len(golds), len(answers))}")
    if all(_same_item(golds[0], gold) for gold in golds[1:]):
        return False
    found = all(any(_same_item(gold, answer) for answer in answers) for gold in golds)
    return found and all(any(_same_item(gold, answer) for gold in golds) for answer in answers)


def _same_as_list(value: Node, listed: Node, items: list[Item]) -> bool:
    """Whether a tuple lists the same values as a bare list, in the same order: `x = 1, y = 2` for `(1, 2)`."""
    if (
        not isinstance(value, Sequence)
        or (isinstance(listed, Sequence) and listed.opening == "{")
        or value.opening != "("
        or value.closing != ")"
        or len(value.items) != len(items)
    ):
        return False
    return all(_same_value(one, item.value) for one, item in zip(value.items, items, strict=True))


def _same_as_set(value: Node, listed: Node) -> bool:
    """Whether conditions, each of which is enough, describe the same set: `x < 1, x > 2`."""
    if (
        not isinstance(listed, Sequence)
        or not listed.items
        or not all(isinstance(item, Relation) for item in listed.items)
    ):
        return False
    return is_real_set(value) and same_set(value, listed)


def _same_item(gold: Item, answer: Item) -> bool:
    if gold.relation and answer.relation and (gold.is_equation or answer.is_equation):
        return _same_relation(gold.relation, answer.relation)
    if gold.is_equation or answer.is_equation:
        if _is_equality(gold.relation) or _is_equality(answer.relation):
            return False
        return _same_real_set(gold.value, answer.value)
    if same_name(gold.name, answer.name):
        return _same_value(gold.value, answer.value)
    return _relates_two_variables(gold, answer)


def _relates_two_variables(gold: Item, answer: Item) -> bool:
    """Whether two equations, each solved for another variable, are the same: `y = 2x` and `x = y/2`."""
    if gold.relation is None or answer.relation is None or not (symbols(gold.value) and symbols(answer.value)):
        return False
    return same_equation(gold.relation, answer.relation)


def _same_relation(gold: Relation, answer: Relation) -> bool:
    if gold == answer:
        return True
    if _is_equality(gold) and _is_equality(answer):
        return same_equation(gold, answer)
    if _is_equality(gold) or _is_equality(answer):
        return False
    if same_inequality(gold, answer) or _same_chain(gold, answer):
        return True
    return symbols(gold) == symbols(answer) and _same_real_set(gold, answer)  # conditions on one variable


def _same_real_set(gold: Node, answer: Node) -> bool:
    """Whether two nodes are the same set of real numbers; what is not one, of numbers alone, is not the same."""
    try:
        return is_real_set(gold) and is_real_set(answer) and same_set(gold, answer)
    except Undecided:
        return False


def _same_chain(gold: Relation, answer: Relation) -> bool:
    """Whether two chains compare the same values, read from either end: a < b < c and c > b > a."""
    if len(gold.terms) != len(answer.terms) or "in" in (*gold.operators, *answer.operators):
        return False
    flipped = Relation(
        answer.terms[::-1], tuple(FLIPPED.get(operator, operator) for operator in reversed(answer.operators))
    )
    return any(
        gold.operators == chain.operators and all(map(_same_value, gold.terms, chain.terms))
        for chain in (answer, flipped)
    )


def _is_equality(relation: Relation | None) -> bool:
    return relation is not None and set(relation.operators) <= {"=", "~"}


def _same_value(gold: Node, answer: Node) -> bool:
    if gold == answer:
        return True
    if isinstance(gold, Words) or isinstance(answer, Words):
        return False
    if isinstance(gold, Based) or isinstance(answer, Based):
        return _same_based(gold, answer)
    matrices = as_matrix(gold), as_matrix(answer)
    if matrices != (None, None):
        return _same_matrix(gold, answer, *matrices)
    if isinstance(gold, Sequence) or isinstance(answer, Sequence) or is_real_set(gold) or is_real_set(answer):
        return _same_sequence(gold, answer)
    if any(below == INFINITY for node in (gold, answer) for below in walk(node)):
        return _infinite(gold) == _infinite(answer) != 0
    return same_number(gold, answer)


def _infinite(node: Node) -> int:
    if node == INFINITY:
        return 1
    return -1 if node == Call("neg", (INFINITY,)) else 0


def _same_based(gold: Node, answer: Node) -> bool:
    """Digits in a base are the same only as the same digits in the same base; base ten is the number itself."""
    spelled = []
    for node in (gold, answer):
        if isinstance(node, Based):
            spelled.append((node.digits.lstrip("0"), node.base))
        elif isinstance(node, Number) and node.value.denominator == 1 and node.value >= 0:
            spelled.append((str(node.value.numerator).lstrip("0"), 10))
        else:
            return False
    return spelled[0] == spelled[1]


def _same_sequence(gold: Node, answer: Node) -> bool:
    if isinstance(gold, Sequence) and isinstance(answer, Sequence) and _same_items(gold, answer):
        return True
    if _is_ratio(gold) != _is_ratio(answer):
        return _as_quotient_equals(gold, answer)
    if isinstance(gold, Sequence) and isinstance(answer, Sequence) and "{" not in (gold.opening, answer.opening):
        return False  # points or intervals, compared above
    return _same_real_set(gold, answer)


def _same_items(gold: Sequence, answer: Sequence) -> bool:
    if (gold.opening, gold.closing, len(gold.items)) != (answer.opening, answer.closing, len(answer.items)):
        return False
    if gold.opening == "{":
        return _same_unordered(_items(gold), _items(answer))
    return all(_same_value(one, other) for one, other in zip(gold.items, answer.items, strict=True))


def _is_ratio(node: Node) -> bool:
    return isinstance(node, Sequence) and node.opening == ":"


def _as_quotient_equals(gold: Node, answer: Node) -> bool:
    ratio, other = (gold, answer) if _is_ratio(gold) else (answer, gold)
    if not isinstance(ratio, Sequence) or isinstance(other, Sequence) or len(ratio.items) != 2:
        return False
    return isinstance(other, Call) and other.name == "div" and same_number(Call("div", ratio.items), other)


def as_matrix(node: Node) -> Matrix | None:
    """The matrix that an expression of matrices is; None when there is no matrix in it."""
    if isinstance(node, Matrix):
        return node
    if not isinstance(node, Call) or node.name not in ("add", "sub", "mul", "neg"):
        return None
    parts = [as_matrix(argument) for argument in node.arguments]
    if node.name == "neg" and parts[0]:
        return Matrix(tuple(tuple(Call("neg", (item,)) for item in row) for row in parts[0].rows))
    if node.name == "mul" and (parts[0] is None) != (parts[1] is None):
        scalar, matrix = (node.arguments[0], parts[1]) if parts[1] else (node.arguments[1], parts[0])
        assert matrix is not None, "one of the two is a matrix"
        return Matrix(tuple(tuple(Call("mul", (scalar, item)) for item in row) for row in matrix.rows))
    if node.name == "mul" and parts[0] and parts[1]:
        return _product(parts[0], parts[1])
    if node.name in ("add", "sub") and parts[0] and parts[1] and _shape(parts[0]) == _shape(parts[1]):
        rows = zip(parts[0].rows, parts[1].rows, strict=True)
        return Matrix(tuple(tuple(Call(node.name, pair) for pair in zip(*both, strict=True)) for both in rows))
    return None


def _product(left: Matrix, right: Matrix) -> Matrix | None:
    if len(left.rows[0]) != len(right.rows):
        return None
    columns = list(zip(*right.rows, strict=True))
    return Matrix(tuple(tuple(_dot(row, column) for column in columns) for row in left.rows))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    terms = [Call("mul", pair) for pair in zip(row, column, strict=True)]
    return reduce(lambda total, term: Call("add", (total, term)), terms)


def _same_matrix(gold: Node, answer: Node, gold_matrix: Matrix | None, answer_matrix: Matrix | None) -> bool:
    if gold_matrix is None or answer_matrix is None:
        vector = gold_matrix or answer_matrix
        point = answer if answer_matrix is None else gold
        return vector is not None and _same_vector(vector, point)
    if _shape(gold_matrix) != _shape(answer_matrix):
        return False
    pairs = zip(gold_matrix.rows, answer_matrix.rows, strict=True)
    return all(_same_value(*pair) for rows in pairs for pair in zip(*rows, strict=True))


def _same_vector(matrix: Matrix, point: Node) -> bool:
    """Whether a column or a row is the point that a tuple gives."""
    if not isinstance(point, Sequence) or (point.opening, point.closing) not in (("(", ")"), ("[", "]")):
        return False
    if 1 not in _shape(matrix):
        return False
    entries = [item for row in matrix.rows for item in row]
    return len(entries) == len(point.items) and all(map(_same_value, entries, point.items))


def _shape(matrix: Matrix) -> tuple[int, int]:
    return len(matrix.rows), len(matrix.rows[0])
