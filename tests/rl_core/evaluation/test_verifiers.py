"""Two verifiers on the same responses."""

import pytest

from rl_core.evaluation.verifiers import MAX_LISTED, second_figures
from rl_core.rollout.collect import Rollout
from rl_core.types import Completion, Problem, Score

RIGHT, WRONG, UNSCORED = 1.0, 0.0, None


def marked(rewards: list[float | None], extracted: str = "7") -> list[Rollout]:
    """Two responses to each problem."""
    problems = [Problem(row, f"problem {row}", "7", (5,)) for row in range(len(rewards) // 2)]
    done = Completion([1], [], "stop", 0)
    return [
        Rollout(problems[n // 2], n % 2, done, "", Score(reward, {}, extracted)) for n, reward in enumerate(rewards)
    ]


def test_the_second_has_its_own_figures_and_every_kind_of_disagreement_is_counted() -> None:
    first = marked([RIGHT, RIGHT, WRONG, WRONG, UNSCORED, RIGHT])
    second = marked([RIGHT, WRONG, WRONG, RIGHT, UNSCORED, UNSCORED], extracted="8")
    found = second_figures("math_verify", first, second, 2)
    assert found["verifier"] == "math_verify"
    # Problems 0 and 1 have one right of two; of problem 2 nothing is scored.
    assert found["pass_at_1"]["value"] == pytest.approx(0.5)
    assert found["unscored_count"] == 2
    assert found["verdicts"] == {
        "right, right": 1,
        "right, unscored": 1,
        "right, wrong": 1,
        "unscored, unscored": 1,
        "wrong, right": 1,
        "wrong, wrong": 1,
    }
    assert found["num_disagreements"] == 3
    assert [(one["index"], one["sample"], one["verdicts"]) for one in found["disagreements"]] == [
        (0, 1, ["right", "wrong"]),
        (1, 1, ["wrong", "right"]),
        (2, 1, ["right", "unscored"]),
    ]
    assert found["disagreements"][0]["extracted"] == ["7", "8"]


def test_the_list_is_bounded_and_the_count_is_not() -> None:
    count = 2 * MAX_LISTED
    found = second_figures("boxed", marked([RIGHT] * count), marked([WRONG] * count), 2)
    assert (len(found["disagreements"]), found["num_disagreements"]) == (MAX_LISTED, count)
