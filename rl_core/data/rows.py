"""Which rows can be used, and why the others cannot. Pure functions of rows; called by `prepare`."""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rl_core.config.data import DatasetConfig
from rl_core.data.prompt import without_template_text
from rl_core.data.raw import RawRow
from rl_core.rewards.gold import FIRST_OF_SEVERAL, GoldCheck, check_gold, is_one_value

NO_PROBLEM = "no problem"
NO_ANSWER = "no answer"
SEVERAL_ANSWERS = "several answers"
ODD_ANSWER = "answer is neither text nor a number"
DUPLICATE = "duplicate"
DUPLICATE_OTHER_ANSWER = "duplicate with another answer"
IN_TEST = "also in test"
IN_PROBE = "also in the probe"
IN_PAIRS = "also among the pairs"


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be used."""

    problem: str
    answer: str
    solution: str | None
    raw: RawRow
    repair: str = ""  # what was done to its answer, if anything


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that cannot, and why."""

    raw: RawRow
    reason: str
    same_as: RawRow | None = None  # the row that has the same problem


class _UnusableError(Exception):
    """Carries the reason why a row is set aside."""


def usable_rows(raw: Sequence[RawRow], dataset: DatasetConfig, template: str) -> tuple[list[Row], list[SetAside]]:
    """Rows with a problem and an answer, and those without."""
    kept, set_aside = [], []
    for row in raw:
        try:
            kept.append(_usable(row, dataset, template))
        except _UnusableError as reason:
            set_aside.append(SetAside(row, str(reason)))
    return kept, set_aside


def without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], list[SetAside]]:
    """The first row of each problem, and the others. Problems are compared by `comparable`."""
    first: dict[str, Row] = {}
    kept, set_aside = [], []
    for row in rows:
        known = first.setdefault(comparable(row.problem), row)
        if known is row:
            kept.append(row)
        else:
            reason = DUPLICATE if known.answer == row.answer else DUPLICATE_OTHER_ANSWER
            set_aside.append(SetAside(row.raw, reason, same_as=known.raw))
    return kept, set_aside


def without_held_out(
    rows: Sequence[Row], others: Sequence[Row], reason: str = IN_TEST
) -> tuple[list[Row], list[SetAside]]:
    """Rows whose problem is not among the others, which are held out of them, and those whose problem is."""
    held_out = {comparable(row.problem): row.raw for row in others}
    kept = [row for row in rows if comparable(row.problem) not in held_out]
    found = [row for row in rows if comparable(row.problem) in held_out]
    return kept, [SetAside(row.raw, reason, same_as=held_out[comparable(row.problem)]) for row in found]


def comparable(problem: str) -> str:
    """What two writings of one problem share: no white space, no dollar signs, no case, one form of each character."""
    return "".join(unicodedata.normalize("NFKC", problem).casefold().replace("$", "").split())


def count_reasons(set_aside: Sequence[SetAside]) -> dict[str, int]:
    """Rows by reason, most frequent first."""
    return dict(Counter(row.reason for row in set_aside).most_common())


def count_repairs(rows: Sequence[Row]) -> dict[str, int]:
    """Rows whose answer was repaired, by what was done, most frequent first."""
    return dict(Counter(row.repair for row in rows if row.repair).most_common())


def gold_answer(value: Any) -> GoldCheck:
    """An answer as text that can be graded against: 142.0 is "142", ["9.6"] is "9.6"; and what was repaired in it.

    A list stands for alternatives. One column of text cannot hold several, and keeping the first would mark the
    others as wrong, so that a list of different values is refused; of several spellings of one value, any will do.

    Raises:
        _UnusableError: there is no answer, it is not one text or number, or it does not grade itself correct.
    """
    spellings = _spellings(value)
    if not is_one_value(spellings):
        raise _UnusableError(SEVERAL_ANSWERS)
    check = check_gold(spellings[0])
    if check.gold is None:
        raise _UnusableError(f"answer: {check.note}")
    return GoldCheck(check.gold, FIRST_OF_SEVERAL) if len(spellings) > 1 else check


def _spellings(value: Any) -> list[str]:
    """The text of an answer; of a list, each of its different texts."""
    if isinstance(value, (list, tuple)) and value:
        return list(dict.fromkeys(text for one in value for text in _spellings(one)))
    if value is None or value in ([], ()) or (isinstance(value, float) and math.isnan(value)):
        raise _UnusableError(NO_ANSWER)
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise _UnusableError(ODD_ANSWER)
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        value = int(value)
    text = str(value).strip()
    if not text:
        raise _UnusableError(NO_ANSWER)
    return [text]


def _usable(raw: RawRow, dataset: DatasetConfig, template: str) -> Row:
    problem = raw.values.get(dataset.problem_column)
    if not isinstance(problem, str) or not without_template_text(problem, template).strip():
        raise _UnusableError(NO_PROBLEM)
    solution = raw.values.get(dataset.solution_column) if dataset.solution_column else None
    answer = gold_answer(raw.values.get(dataset.answer_column))
    assert answer.gold is not None, "gold_answer refuses what has none"
    bare = without_template_text(problem, template)
    return Row(bare, answer.gold, solution if isinstance(solution, str) else None, raw, answer.note)
