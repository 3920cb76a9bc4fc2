import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_core.config import EmbeddedConfig
from rl_core.config.embedded import AnswerFormat
from rl_core.config.rewards import RewardConfig
from rl_core.embedded.task import DEPTH_WEIGHTS, Chain, draw_depths, make_problems, num_chains, response
from rl_core.errors import MistakeError
from rl_core.rewards import Scorer

SMALL = EmbeddedConfig(train_problems=300, test_problems=50)


def test_a_problem_and_its_solution_by_hand() -> None:
    chain = Chain(12, (5, -6, -2))
    assert chain.problem == "Compute 12 a+5 b-6 c-2"
    assert chain.solution() == "12a+5=17\n17b-6=11\n11c-2=9\n\\boxed{9}"
    assert chain.values == [12, 17, 11, 9]
    assert chain.depth == 3


def test_the_other_forms_of_a_solution_by_hand() -> None:
    chain = Chain(12, (5, -6))
    assert chain.solution("answer_tag") == "12a+5=17\n17b-6=11\n<answer>11</answer>"
    assert chain.solution("thought") == "<think>\n12a+5=17\n17b-6=11\n</think>\\boxed{11}"


@pytest.mark.parametrize(
    ("answer_format", "reward"),
    [
        ("boxed", RewardConfig(name="boxed")),
        ("answer_tag", RewardConfig(name="answer_tag", kwargs={"rule": "faithful"})),
        ("answer_tag", RewardConfig(name="answer_tag")),
        ("thought", RewardConfig(name="deepscaler")),
        ("thought", RewardConfig(name="boxed")),
    ],
)
def test_a_solution_earns_the_reward_that_its_form_is_for_and_a_wrong_answer_does_not(
    answer_format: AnswerFormat, reward: RewardConfig
) -> None:
    chain = Chain(12, (5, -6))
    responses = [chain.solution(answer_format), response(chain.lines(), 10, answer_format), chain.lines()[0]]
    scores = Scorer([reward]).score(responses, ["11"] * 3, [False] * 3)
    assert [score.reward for score in scores] == [1.0, 0.0, 0.0]


def worked_out(problem: str) -> list[int]:
    """Every value of a problem, from its text alone."""
    found = re.fullmatch(r"Compute (\d+)((?: [a-z][+-]\d)+)", problem)
    assert found is not None, problem
    values = [int(found[1])]
    for place, (letter, operand) in enumerate(re.findall(r"([a-z])([+-]\d)", found[2])):
        assert letter == "abcdefghijklmnopqrstuvwxyz"[place]
        assert operand[1] != "0"
        values.append(values[-1] + int(operand))
    return values


def test_every_answer_and_every_step_of_every_solution_is_right_and_in_range() -> None:
    rows = make_problems(SMALL, 0)
    for row in rows["train"] + rows["test"]:
        values = worked_out(row["problem"])
        assert all(0 <= value <= 19 for value in values)
        *steps, answer = row["solution"].split("\n")
        assert answer == f"\\boxed{{{row['answer']}}}" == f"\\boxed{{{values[-1]}}}"
        assert len(steps) == len(values) - 1
        for step, before, after in zip(steps, values, values[1:], strict=False):
            left, right = step.split("=")
            assert int(right) == after
            assert int(re.sub(r"^(\d+)[a-z]([+-]\d)$", r"\1", left)) == before


@given(st.integers(1, 26), st.integers(0, 2**32))
def test_a_chain_of_any_depth_is_told_in_full(depth: int, seed: int) -> None:
    chain = Chain.draw(depth, np.random.default_rng(seed))
    assert worked_out(chain.problem) == chain.values
    assert len(chain.values) == depth + 1


def test_no_problem_comes_twice_and_the_held_out_ones_are_not_trained_on() -> None:
    rows = make_problems(SMALL, 3)
    assert (len(rows["train"]), len(rows["test"])) == (300, 50)
    problems = [row["problem"] for row in rows["train"] + rows["test"]]
    assert len(set(problems)) == 350


def test_the_problems_are_a_function_of_the_seed() -> None:
    assert make_problems(SMALL, 5) == make_problems(SMALL, 5)
    assert make_problems(SMALL, 5)["test"] != make_problems(SMALL, 6)["test"]


def test_the_form_of_the_answers_changes_the_solutions_and_no_problem() -> None:
    boxed, tagged = make_problems(SMALL, 5), make_problems(SMALL.model_copy(update={"answer_format": "answer_tag"}), 5)
    assert [row["problem"] for row in tagged["train"]] == [row["problem"] for row in boxed["train"]]
    assert all(row["solution"].endswith(f"<answer>{row['answer']}</answer>") for row in tagged["train"])


def test_depths_are_distributed_as_they_are_weighed() -> None:
    count = 20_000
    depths = Counter(draw_depths(count, 14, np.random.default_rng(0)))
    assert set(depths) == set(range(1, 15))
    for depth, weight in enumerate(DEPTH_WEIGHTS, start=1):
        assert depths[depth] / count == pytest.approx(weight / sum(DEPTH_WEIGHTS), abs=0.015)
    assert set(draw_depths(500, 3, np.random.default_rng(0))) == {1, 2, 3}


def test_shallow_problems_are_not_all_at_the_beginning() -> None:
    # Of depth 1 there are 270 problems, fewer than their share of 4000: they run out while problems are drawn.
    rows = make_problems(EmbeddedConfig(train_problems=4000, test_problems=256), 0)
    shallow = [len(worked_out(row["problem"])) == 2 for row in rows["train"]]
    assert sum(shallow) > 200
    assert sum(shallow[:1000]) == pytest.approx(sum(shallow[3000:]), abs=40)


def test_there_are_so_many_problems_of_each_depth() -> None:
    assert num_chains(1) == sum(1 for value in range(20) for n in range(-9, 10) if n and 0 <= value + n <= 19)
    by_hand = {Chain(v, (a, b)).problem for v in range(20) for a in range(-9, 10) for b in range(-9, 10)
               if a and b and 0 <= v + a <= 19 and 0 <= v + a + b <= 19}  # fmt: skip
    assert num_chains(2) == num_chains(1) + len(by_hand)


def test_more_problems_than_can_be_drawn_are_refused() -> None:
    with pytest.raises(MistakeError, match=r"4256 problems are asked for .* max_depth 2 there are 4080"):
        make_problems(EmbeddedConfig(max_depth=2), 0)
    assert len(make_problems(EmbeddedConfig(max_depth=2, train_problems=1900, test_problems=100), 0)["train"]) == 1900
