from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rl_core.config.data import PROBLEM
from rl_core.data.prompt import without_template_text
from rl_core.data.rows import comparable, gold_answer
from rl_core.rewards.gold import GoldCheck

TEMPLATE = "{problem} Let's think step by step and output the final answer within \\boxed{}."
TEXT = st.text(alphabet="ab {}\\$.\n", max_size=12)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("025", "025"),
        (" \\frac{1}{2}\n", "\\frac{1}{2}"),
        (142.0, "142"),
        (0.5, "0.5"),
        (-3, "-3"),
        (10**17, "100000000000000000"),
        (Decimal("7.00"), "7"),
        (["9.6\n"], "9.6"),
        (["4", "4 "], "4"),
        ([3.0], "3"),
    ],
)
def test_an_answer_becomes_text(value: Any, text: str) -> None:
    assert gold_answer(value) == GoldCheck(text)


@pytest.mark.parametrize(
    ("value", "text", "repair"),
    [
        ("142.0", "142", "written as a whole number"),
        ("\\boxed{8}", "8", "taken out of its box"),
        ("0.5 or 1/2", "0.5", "the first of several spellings of one value"),
        (["4.4e7\n", "4.4 \\times 10^7"], "4.4e7", "the first of several spellings of one value"),
        (["142.0", "142"], "142", "the first of several spellings of one value"),
    ],
)
def test_an_answer_is_repaired_where_that_is_certain(value: Any, text: str, repair: str) -> None:
    assert gold_answer(value) == GoldCheck(text, repair)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no answer"),
        ("", "no answer"),
        (" \n", "no answer"),
        ([], "no answer"),
        ([None], "no answer"),
        (float("nan"), "no answer"),
        (["1", "2"], "several answers"),
        (["0.577", "1/\\sqrt{3}"], "several answers"),
        ("A or B", "answer: alternatives that differ"),
        ("43=42", "answer: says two things"),
        ("\\frac{1}{2", "answer: cut off: a bracket never closes"),
        ("$", "answer: empty"),
        (True, "answer is neither text nor a number"),
        ({"a": 1}, "answer is neither text nor a number"),
    ],
)
def test_what_is_no_answer_is_told_by_reason(value: Any, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        gold_answer(value)


def test_the_templates_own_text_is_taken_off_once() -> None:
    suffix = TEMPLATE.removeprefix(PROBLEM)
    assert without_template_text("Find $x$." + suffix, TEMPLATE) == "Find $x$."
    assert without_template_text("Find $x$.\n" + suffix + "\n", TEMPLATE) == "Find $x$."
    assert without_template_text("Find $x$." + suffix + suffix, TEMPLATE) == "Find $x$." + suffix
    assert without_template_text(" Find $x$. ", TEMPLATE) == " Find $x$. "
    assert without_template_text("Q: Find $x$.", "Q: {problem}\n") == "Find $x$."
    assert without_template_text("Find $x$.", "{problem}") == "Find $x$."


@given(problem=TEXT, before=TEXT, after=TEXT)
def test_a_problem_put_into_its_template_comes_out_again(problem: str, before: str, after: str) -> None:
    assume(before.strip() and after.strip() and problem.strip())
    template = before + PROBLEM + after
    assert without_template_text(template.replace(PROBLEM, problem), template) == problem


def test_two_writings_of_a_problem_compare_equal_and_two_problems_do_not() -> None:
    assert comparable("Find $x+1$ \n for $X$") == comparable("find x + 1 for x")
    assert comparable("\ufb01nd") == comparable("find")  # a ligature
    assert comparable("x+1") != comparable("x-1")
