from typing import get_args

import pytest
from pydantic import ValidationError

from rl_core.config.rewards import RewardConfig, RewardName
from rl_core.errors import MistakeError
from rl_core.rewards.grading import pool
from rl_core.rewards.scorer import REWARDS, Scorer
from rl_core.types import Score


def score(response: str, gold: str, *rewards: RewardConfig, truncated: bool = False, tokens: int = 10) -> Score:
    return Scorer(rewards).score([response], [gold], [truncated], [tokens], [100])[0]


def reward(name: str, response: str, gold: str, **kwargs: object) -> float | None:
    return score(response, gold, RewardConfig(name=name, kwargs=kwargs)).reward


def test_every_name_that_the_configuration_knows_is_a_function():
    assert set(get_args(RewardName)) == set(REWARDS)


def test_rewards_add_up_by_weight_and_the_breakdown_is_kept():
    found = Scorer(
        [
            RewardConfig(name="math_verify", weight=2.0),
            RewardConfig(name="overlong_penalty", kwargs={"buffer_tokens": 50}),
        ]
    ).score([r"\boxed{\sqrt4}", r"\boxed{1}"], ["2", "2"], [False, False], [75, 40], [100, 100])
    assert [one.reward for one in found] == [1.5, 0.0]
    assert [one.breakdown for one in found] == [
        {"math_verify": 1.0, "overlong_penalty": -0.5},
        {"math_verify": 0.0, "overlong_penalty": 0.0},
    ]


def test_a_response_that_one_reward_cannot_score_has_no_reward_and_the_others_keep_their_place():
    found = Scorer([RewardConfig(name="boxed"), RewardConfig(name="answer_tag", kwargs={"rule": "faithful"})]).score(
        [r"\boxed{1}", r"\boxed{2}"], ["", "2"], [False, False]
    )
    assert [one.reward for one in found] == [None, 1.0]
    assert found[0].breakdown == {"boxed": None, "answer_tag": 0.0}


def test_no_reward_looks_at_what_stands_before_the_end_of_the_thought():
    response = r"<think>\boxed{1} <answer>1</answer></think> I do not know, step by step."
    for name in ("boxed", "deepscaler", "math_verify"):
        assert reward(name, response, "1") == 0.0
    assert reward("answer_tag", response, "1") == 0.0
    assert reward("shaped", response, "1") == pytest.approx(-1.0 + 0.2 + 0.2)


@pytest.mark.parametrize(
    ("response", "truncated", "thought_open", "right"),
    [
        (r"so \boxed{42}, or", True, True, False),  # cut off inside the thought that the template opened
        (r"so \boxed{42}", False, True, True),  # the model ended it: under such a template not all score zero
        (r"so \boxed{42}, and", True, False, True),  # no template opened a thought
        (r"hm </think> \boxed{42}, and", True, True, True),
        (r"\boxed{42} </think> so", True, True, False),
    ],
)
def test_a_thought_that_the_template_opened_and_the_limit_cut_off_earns_nothing(
    response: str, truncated: bool, thought_open: bool, right: bool
):
    options: dict[str, dict[str, object]] = {
        "boxed": {},
        "math_verify": {},
        "answer_tag": {"fallback": True},
        "deepscaler": {"thought_required": False},
        "shaped": {"wrong": 0.0, "box_bonus": 0.0, "step_bonus": 0.0},
    }
    for name, kwargs in options.items():
        scorer = Scorer([RewardConfig(name=name, kwargs=kwargs)])
        found = scorer.score([response], ["42"], [truncated], thought_open=[thought_open])[0]
        assert (found.reward, found.extracted) == ((1.0, "42") if right else (0.0, None)), name


def test_only_rewards_that_may_ask_the_slow_path_start_it(monkeypatch: pytest.MonkeyPatch):
    started: list[bool] = []
    monkeypatch.setattr(pool, "warm_up", lambda: started.append(True))
    Scorer([RewardConfig(name="boxed"), RewardConfig(name="overlong_penalty")]).warm_up()
    assert started == []
    Scorer([RewardConfig(name="boxed"), RewardConfig(name="math_verify")]).warm_up()
    assert started == [True]


@pytest.mark.parametrize(
    ("response", "gold", "expected"),
    [
        (r"<think>a</think> \boxed{42}", "42", 1.0),
        (r"a</think> \boxed{42}", "42", 1.0),  # the template opened the thought
        (r"\boxed{42}", "42", 0.0),
        (r"<think>a \boxed{42}", "42", 0.0),
        (r"</think> \boxed{42} </think> \boxed{7}", "42", 1.0),
        (r"</think> \boxed{025}", "25", 1.0),
        (r"</think> \boxed{142}", "142.0", 1.0),
        (r"</think> \boxed{2^3}", "8", 0.0),  # a whole number is to be written as one
        (r"</think> \boxed{\frac{16}{2}}", "8", 0.0),
        (r"</think> \boxed{\frac{2}{4}}", r"\frac{1}{2}", 0.0),
        (r"</think> \boxed{0.5}", "1/2", 1.0),
        (r"</think> \boxed{\sqrt8}", r"2\sqrt2", 1.0),
        (r"</think> \boxed{1e-10}", "0", 0.0),
        (r"</think> \boxed{123456789012345678}", "123456789012345679", 0.0),
        (r"</think> \boxed{}", "", 0.0),
        (r"</think> \boxed{1}", "", None),
    ],
)
def test_deepscaler_wants_a_closed_thought_and_an_answer_in_lowest_terms(response: str, gold: str, expected: float):
    assert reward("deepscaler", response, gold) == expected


def test_deepscaler_grades_models_that_do_not_think_in_tags_when_asked_to():
    assert reward("deepscaler", r"\boxed{42}", "42", thought_required=False) == 1.0


@pytest.mark.parametrize(
    ("response", "gold", "faithful", "mended"),
    [
        ("<answer>42</answer>", "42", 1.0, 1.0),
        ("<answer>1</answer> <ANSWER>it is 1,234</ANSWER>", "1234", 1.0, 0.0),
        ("<answer>1,234</answer>", "1,234", 0.0, 1.0),
        ("<answer>18.0</answer>", "18", 0.0, 1.0),
        ("<answer>2/4</answer>", "1/2", 0.0, 1.0),
        (r"<answer>-\frac{2}{3}</answer>", "-2/3", 0.0, 1.0),
        (r"<answer>49\pi</answer>", "49", 1.0, 0.0),
        ("<answer>3-2</answer>", "-2", 1.0, 0.0),
        ("<answer>.5</answer>", "0.5", 0.0, 1.0),
        ("42", "42", 0.0, 0.0),
        (r"\boxed{42}", "42", 0.0, 0.0),
    ],
)
def test_the_answer_tag_as_it_is_in_the_recipe_and_mended(response: str, gold: str, faithful: float, mended: float):
    assert reward("answer_tag", response, gold, rule="faithful") == faithful
    assert reward("answer_tag", response, gold) == mended


def test_the_fallback_of_the_answer_tag_searches_the_whole_response():
    assert reward("answer_tag", "so 1/2, that is 7", "1/2", rule="faithful", fallback=True) == 1.0
    assert reward("answer_tag", "<answer>none</answer> 7", "7", rule="faithful", fallback=True) == 1.0
    assert reward("answer_tag", r"\boxed{7}", "7", fallback=True) == 1.0
    assert reward("answer_tag", "it is 7", "7", fallback=True) == 0.0


def test_the_shaped_reward_is_its_formula_on_the_response_alone():
    assert reward("shaped", r"\boxed{42}", "42") == pytest.approx(1.2)
    assert reward("shaped", r"Finally, \boxed{41}", "42") == pytest.approx(-1.0 + 0.2 + 0.2)
    assert reward("shaped", "x" * 3000, "42") == pytest.approx(-1.0 - 0.1 * 2)
    assert reward("shaped", "forty-two", "42", wrong=0.0, step_bonus=0.0) == 0.0


def test_the_overlong_penalty_is_linear_in_the_buffer_and_zero_before_it():
    config = RewardConfig(name="overlong_penalty", kwargs={"buffer_tokens": 20})
    assert [score("", "", config, tokens=count).reward for count in (1, 80, 90, 100)] == [0.0, 0.0, -0.5, -1.0]


def test_the_overlong_penalty_needs_lengths():
    with pytest.raises(ValueError, match="needs the tokens"):
        Scorer([RewardConfig(name="overlong_penalty")]).score([""], ["1"], [False])


def test_an_unknown_reward_is_refused_with_the_ones_there_are():
    with pytest.raises(ValidationError, match="boxed, deepscaler, math_verify"):
        RewardConfig(name="boxd")


def test_a_function_without_a_file_is_refused():
    with pytest.raises(ValidationError, match="does nothing without `file`"):
        RewardConfig(name="boxed", function="mine")


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("boxed", {"strict": True}, "boxed has no option `strict`: it has none"),
        ("answer_tag", {"rul": "x"}, "it has rule, fallback"),
        ("answer_tag", {"rule": "loose"}, "rule is 'loose'"),
        ("overlong_penalty", {"buffer_tokens": 1.5}, "buffer_tokens is 1.5"),
        ("shaped", {"right": "1"}, "right is '1'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_scored(name: str, kwargs: dict[str, object], message: str):
    with pytest.raises(MistakeError, match=message):
        Scorer([RewardConfig(name=name, kwargs=kwargs)])


def test_two_rewards_of_one_name_are_refused():
    with pytest.raises(MistakeError, match="two have the same name"):
        Scorer([RewardConfig(name="boxed"), RewardConfig(name="boxed")])
