from collections.abc import Callable

import pytest

from rl_core.rewards.answers import (
    extract_answer,
    final_answer,
    last_box,
    last_tagged,
    opens_thought,
    text_after_thought,
)
from tests.rl_core.rewards.growth import assert_linear

SIZE = 1000  # from here to 16,000 pieces


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{99}", "99"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\text{a \} b}}", r"\text{a \} b}"),
        (r"\boxed {42}", "42"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\boxed{42}}", "42"),
        (r"\boxed{41}, \boxed{42", "41"),  # the last one that closes
        (r"\boxed{ \boxed 5 }", r"\boxed 5"),
        (r"}} \boxed{42} {{{", "42"),
        (r"\\boxed{42}", "42"),
        ("boxed{42}", None),
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        (r"Put it in \boxed{}. It is 42", None),
        (r"\boxed{1} \boxed{}", None),
        ("the answer is 42", None),
        ("", None),
    ],
)
def test_the_last_balanced_box_is_the_answer(response: str, answer: str | None):
    assert extract_answer(response) == answer


def test_only_the_text_behind_the_thought_counts():
    assert extract_answer(r"<think>\boxed{41}</think> \boxed{42}") == "42"
    assert extract_answer(r"<think>\boxed{42}</think> forty-two") is None
    assert extract_answer(r"a </think> \boxed{1} </think> \boxed{2}") == "2"


def test_a_thought_that_the_prompt_opened_ends_at_its_closing_tag():
    assert extract_answer(r"\boxed{41} hmm </think> \boxed{42}") == "42"


def test_a_thought_that_never_closed_earns_nothing():
    assert text_after_thought(r"<think> so \boxed{42}") is None
    assert extract_answer(r"<think> so \boxed{42}") is None
    assert extract_answer(r"</think> \boxed{1} <think> \boxed{42}") is None


def test_a_prompt_opens_a_thought_when_it_ends_with_the_tag():
    assert opens_thought("<|Assistant|><think>\n")
    assert opens_thought("<think>")
    assert not opens_thought("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_thought("Think in <think> tags. <|Assistant|>")
    assert not opens_thought("")


def test_a_response_without_tags_is_all_answer():
    assert text_after_thought(r"a \boxed{42}") == r"a \boxed{42}"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<answer>42</answer>", "42"),
        ("<answer>1</answer> ... <ANSWER> 5 </ANSWER>", "5"),
        (r"<answer>It is \boxed{42}</answer>", "42"),
        (r"<answer>42</answer> \boxed{43}", "42"),
        (r"\boxed{41} <answer>42", "41"),  # a tag that never closes is none
        ("</answer> <answer>", None),
        ("<answer> </answer>", None),
        ("<think><answer>1</answer></think>", None),
        ("<think>never closed <answer>5</answer>", None),
    ],
)
def test_an_answer_in_tags_beats_a_box_outside_them(response: str, answer: str | None):
    assert final_answer(response) == answer


@pytest.mark.parametrize("piece", ["<answer>", "</answer>", "<answer></answer>"])
def test_the_search_for_tags_is_linear(piece: str):
    assert_linear(last_tagged, lambda size: piece * size, SIZE)


@pytest.mark.parametrize(
    "text_of",
    [
        lambda size: r"\boxed{1} " * size,
        lambda size: r"\boxed{" * size,
        lambda size: r"\boxed{" * size + "42" + "}" * size,
        lambda size: "{" * size + r"\boxed{42}",
        lambda size: r"\boxed{42}" + "}" * size,
        lambda size: r"\boxed" * size,
        lambda size: "box" * size,
        lambda size: r"\boxed{" + r"\{" * size,
        lambda size: r"\boxed" + " " * size,
    ],
    ids=["closed", "open", "nested", "braces before", "braces after", "no brace", "no box", "escaped", "space"],
)
def test_the_scan_is_linear_whatever_the_response(text_of: Callable[[int], str]):
    assert_linear(last_box, text_of, SIZE)
