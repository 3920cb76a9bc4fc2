import json
from pathlib import Path

import pytest

from rl_core.config.rewards import RewardConfig
from rl_core.rewards import Scorer, canonical, same_answer

ANSWERS = Path(__file__).resolve().parents[4] / "shared" / "data" / "answers"


def reward(box: str, gold: str) -> float | None:
    return Scorer([RewardConfig(name="boxed")]).score([f"It is \\boxed{{{box}}}."], [gold], [False])[0].reward


def test_scores_keep_the_order_of_the_responses_and_name_what_was_found():
    scores = Scorer([RewardConfig(name="boxed", weight=2.0)]).score(
        [r"\boxed{1}", "nothing", r"\boxed{3}", r"\boxed{ 4 }"], ["1", "2", "", "4"], [False, True, False, False]
    )
    assert [score.reward for score in scores] == [2.0, 0.0, None, 2.0]
    assert [score.breakdown for score in scores] == [{"boxed": 1.0}, {"boxed": 0.0}, {"boxed": None}, {"boxed": 1.0}]
    assert [score.extracted for score in scores] == ["1", None, "3", "4"]


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        Scorer([RewardConfig(name="boxed")]).score(["a", "b"], ["1"], [False, False])


@pytest.mark.parametrize(
    ("box", "gold"),
    [
        ("025", "25"),
        ("25", "025"),
        ("142.0", "142"),
        ("142", "142.0"),
        ("1,000", "1000"),
        (r"1{,}000", "1000"),
        (r"11,\! 111", "11111"),
        ("-0", "0"),
        (".5", "0.5"),
        ("0.5", r"\frac{1}{2}"),
        (r"\dfrac12", "1/2"),
        ("2/4", "0.5"),
        (r"-\frac{3}{4}", r"\frac{-3}{4}"),
        ("\u221242", "-42"),
        ("42.", "42"),
        (r"\$1,000.50", "1000.5"),
        (r"28\%", "28"),
        (r"10\text{ cm}^2", "10"),
        (r"10 \text{ square feet}", "10"),
        ("10 km/h", "10"),
        (r"30^\circ", "30"),
        (r"30^{\circ}", "30"),
        (r"\text{42}", "42"),
        (r"\text{Even}", "Even"),
        ("x = 42", "42"),
        (r"x_1=\frac12", "1/2"),
        (r"\left(1, 2\right)", "(1,2)"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"\tfrac{\pi}{2}", r"\frac{\pi}{2}"),
        (r"x^2 + 1", "x^2+1"),
    ],
)
def test_typesetting_does_not_change_an_answer(box: str, gold: str):
    assert reward(box, gold) == 1.0


@pytest.mark.parametrize(
    "box",
    [
        r"42\text{ is my guess but 7}",
        r"42\text{ or } 43",
        r"43=42",
        r"42 \approx 43",
        "42_{7}",
        "42_7",
        "0.42",
        r"4200\%",
        "42.0001",
        "42.0000000001",
        "42 or 43",
        "42, 43",
        r"\{41,42\}",
        "",
        " ",
        r"42^2",
        "4 2",
        "4\x002",
        "nan",
        "42m",
        r"42\sqrt{1}",
        "x",
        r"42\text{x}",
        "42!",
    ],
)
def test_what_is_not_the_answer_42_is_not_paid(box: str):
    assert reward(box, "42") == 0.0


@pytest.mark.parametrize("box", ["", "42", "0"])
def test_an_empty_gold_answer_never_pays(box: str):
    assert not reward(box, "")
    assert not reward(box, " ")


def test_integers_of_any_length_are_compared_exactly():
    digits = "1" * 100_000
    assert reward(digits, digits + ".0") == 1.0
    assert reward(digits, digits[:-1] + "2") == 0.0
    assert reward("3." + "1" * 5000, "3") == 0.0
    assert reward("123456789012345678", "123456789012345679") == 0.0


def test_equal_rationals_vote_together_whatever_their_spelling():
    assert canonical("0.5") == canonical(r"\frac{1}{2}") == canonical("2/4") == "1/2"
    assert canonical(r"1,000\text{ m}") == canonical("1000.0") == "1000"
    assert canonical(r"\frac{1}{0}") != canonical("0")


def test_nothing_is_the_same_as_an_empty_answer():
    assert not same_answer("", "")
    assert not same_answer("$", "%")


@pytest.mark.skipif(not ANSWERS.is_dir(), reason="the shared answers are not on this machine")
@pytest.mark.parametrize("file", ["graded.jsonl", "adversarial.jsonl"])
def test_no_wrong_answer_of_the_shared_cases_is_paid(file: str):
    rows = [json.loads(line) for line in (ANSWERS / file).read_text().splitlines()]
    scores = Scorer([RewardConfig(name="boxed")]).score(
        [row["response"] for row in rows], [row["gold"] for row in rows], [False] * len(rows)
    )
    assert len(rows) > 100
    assert [
        row["id"] for row, score in zip(rows, scores, strict=True) if row["expected"] is False and score.reward
    ] == []
