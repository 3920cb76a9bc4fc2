"""What a step trains on under dynamic sampling: groups whose rewards differ, up to a bound, and no problem twice."""

from collections.abc import Sequence
from typing import Any

import pytest

from rl_core.config import StageConfig
from rl_core.rollout.collect import Collected, Limits, Rollout
from rl_core.training.drawing import Drawing, Drawn
from rl_core.training.problems import StageProblems
from rl_core.types import Completion, Problem, Score

PROMPTS, SAMPLES = 2, 2


class GivenRewards:
    """Stands where the collector does: responses whose rewards are told by problem."""

    def __init__(self, rewards: dict[int, tuple[float | None, ...]]) -> None:
        self.asked: list[int] = []
        self._rewards = rewards

    def collect(self, problems: Sequence[Problem], *_: Any, num_samples: int, **__: Any) -> Collected:
        self.asked += [problem.index for problem in problems]
        rollouts = [
            Rollout(problem, sample, Completion([1], [0.0], "stop", 0), "", Score(self._rewards[problem.index][sample]))
            for problem in problems
            for sample in range(num_samples)
        ]
        return Collected(rollouts, 1.0, 0.5)


def draw(
    rewards: Sequence[tuple[float | None, ...]], bound: int | None, *, position: int = 0
) -> tuple[Drawn, GivenRewards, list[int]]:
    """The draw of one step from problems whose rewards are given in the order of the draw; that order."""
    problems = [Problem(index, "", "", (1,)) for index in range(len(rewards))]
    stage = StageConfig.model_validate(
        {
            "name": "a",
            "steps": 1,
            "max_response_tokens": 4,
            "rollout": {"num_prompts": PROMPTS, "num_samples": SAMPLES},
            "algorithm": {"minibatch_sequences": PROMPTS * SAMPLES, "dynamic_sampling": bound},
        }
    )
    stage_problems = StageProblems(problems, [], [], 0, Limits.of_stage(stage))
    every = GivenRewards(dict.fromkeys(range(len(rewards)), (0.0, 1.0)))
    for start in range(0, len(rewards), PROMPTS):
        Drawing(every, stage_problems, stage, seed=0, index=0).draw(1, start)  # type: ignore[arg-type]
    order = every.asked
    collector = GivenRewards({index: rewards[place] for place, index in enumerate(order)})
    drawn = Drawing(collector, stage_problems, stage, seed=0, index=0).draw(1, position)  # type: ignore[arg-type]
    return drawn, collector, order


def trained(drawn: Drawn) -> list[int]:
    return [rollout.problem.index for rollout in drawn.trained[::SAMPLES]]


SAME, MIXED, UNSCORED = (1.0, 1.0), (0.0, 1.0), (None, 1.0)


def test_without_it_one_batch_is_drawn_whatever_its_rewards() -> None:
    drawn, collector, order = draw([SAME, SAME, MIXED, MIXED], None)
    assert collector.asked == trained(drawn) == order[:2]
    assert drawn.position == 2


def test_groups_that_teach_nothing_are_drawn_again_until_there_are_enough() -> None:
    drawn, collector, order = draw([SAME, MIXED, UNSCORED, SAME, MIXED, MIXED, MIXED, MIXED], 4)
    assert collector.asked == order[:6]
    assert trained(drawn) == [order[1], order[4]]
    assert (drawn.position, len(drawn.batches), len(drawn.sampled)) == (6, 3, 6 * SAMPLES)
    assert (drawn.generate_seconds, drawn.score_seconds) == (3.0, 1.5)


def test_at_the_bound_the_step_is_filled_up_in_the_order_of_the_draw() -> None:
    drawn, _, order = draw([SAME, SAME, SAME, MIXED, MIXED, MIXED], 2)
    assert trained(drawn) == [order[0], order[3]]
    assert drawn.position == 4


@pytest.mark.parametrize("problems", [2, 3, 5, 8])
@pytest.mark.parametrize("position", [0, 2, 4, 6, 9])
def test_no_problem_is_drawn_twice_in_a_step(problems: int, position: int) -> None:
    drawn, collector, _ = draw([SAME] * (problems + problems % 2), 100, position=position)
    assert len(set(collector.asked)) == len(collector.asked)
    assert len(drawn.trained) == PROMPTS * SAMPLES


def test_the_next_step_goes_on_behind_what_was_drawn() -> None:
    rewards = [SAME, SAME, MIXED, MIXED, MIXED, MIXED]
    first, _, order = draw(rewards, 3)
    assert trained(first) == order[2:4]
    second, _, _ = draw(rewards, 3, position=first.position)
    assert trained(second) == order[4:6]
