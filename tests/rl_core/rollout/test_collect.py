from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from rl_core.config.rewards import RewardConfig
from rl_core.config.stage import StageConfig
from rl_core.data.parquet import PromptedProblem
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.rewards import Scorer
from rl_core.rollout.collect import Collected, Collector, Limits, Rollout, response_metrics, tokenize_prompts
from rl_core.rollout.engine import Sampling
from rl_core.rollout.transformers_engine import TransformersEngine
from rl_core.types import Completion, FinishReason, Problem, Request, Score
from rl_core.world import World, derive_seed
from tests.rl_core.tiny import tiny_qwen2

CPU = torch.device("cpu")
TOKENIZER = build_tokenizer()
PROBLEMS = [Problem(10 * row, f"problem {row}", str(row), (5, 6, 7, 8 + row)) for row in range(5)]


@dataclass
class WatchedEngine:
    """The real engine, and what it was asked for."""

    engine: TransformersEngine
    asked: list[Request] = field(default_factory=list)
    ranks_per_engine: int = 1

    def generate(self, requests: list[Request], *arguments: Any) -> list[Completion]:
        self.asked += requests
        return self.engine.generate(requests, *arguments)


@dataclass(frozen=True)
class Rank(World):
    """One rank of several: gathers what it has itself."""

    def gather(self, value: Any) -> list[Any]:
        return [value]


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    model = tiny_qwen2(vocabulary=len(TOKENIZER))
    model.generation_config.eos_token_id = list(range(10, 40))
    return TransformersEngine(model, max_concurrent_sequences=64)


def collect(engine: Any, rank: int = 0, num_ranks: int = 1, limits: Limits = Limits(8, 128)) -> Collected:  # noqa: B008
    collector = Collector(engine, TOKENIZER, Scorer([RewardConfig(name="boxed")]), Rank(rank, num_ranks, CPU))
    return collector.collect(PROBLEMS, limits, Sampling(), num_samples=3, seed=(4, "rollout", 0, 7))


def test_responses_come_in_the_order_of_their_problems_side_by_side(engine: TransformersEngine) -> None:
    rollouts = collect(engine).rollouts
    assert [(rollout.problem.index, rollout.sample) for rollout in rollouts] == [
        (10 * row, sample) for row in range(5) for sample in range(3)
    ]
    for rollout in rollouts:
        assert rollout.response == TOKENIZER.decode(rollout.completion.token_ids, skip_special_tokens=True)
        assert rollout.truncated == (rollout.completion.finish_reason == "length")


def test_every_response_has_a_seed_of_its_problem_and_number_alone(engine: TransformersEngine) -> None:
    watched = WatchedEngine(engine)
    collect(watched)
    assert [request.seed for request in watched.asked] == [
        derive_seed(4, "rollout", 0, 7, 10 * row, sample) for row in range(5) for sample in range(3)
    ]
    assert len({request.seed for request in watched.asked}) == 15


@pytest.mark.parametrize("num_ranks", [2, 3, 4, 20])
def test_the_ranks_together_have_what_one_rank_has(engine: TransformersEngine, num_ranks: int) -> None:
    together = [rollout for rank in range(num_ranks) for rollout in collect(engine, rank, num_ranks).rollouts]
    alone = collect(engine).rollouts
    assert [(r.problem, r.sample, r.completion.token_ids, r.score) for r in together] == [
        (r.problem, r.sample, r.completion.token_ids, r.score) for r in alone
    ]


def test_a_long_prompt_leaves_less_room_for_its_response(engine: TransformersEngine) -> None:
    watched = WatchedEngine(engine)
    collect(watched, limits=Limits(8, 6))
    assert {request.max_new_tokens for request in watched.asked} == {2}
    limits = Limits.of_stage(StageConfig(name="a", steps=1, max_prompt_tokens=10, max_response_tokens=30))
    assert [limits.response_tokens(Problem(0, "", "", (1,) * length)) for length in (1, 10)] == [30, 30]
    bounded = StageConfig(name="a", steps=1, max_prompt_tokens=10, max_response_tokens=30, max_total_tokens=32)
    assert [Limits.of_stage(bounded).response_tokens(Problem(0, "", "", (1,) * n)) for n in (1, 2, 10)] == [30, 30, 22]


@dataclass
class Recorded:
    """An engine that has its responses already."""

    completions: list[Completion]
    ranks_per_engine: int = 1

    def generate(self, requests: list[Request], *arguments: Any) -> list[Completion]:
        return self.completions


@pytest.mark.parametrize(
    ("prompt_ends", "finish_reason", "reward"),
    [
        ("<|assistant|><think>\n", "length", 0.0),
        ("<|assistant|><think>\n", "stop", 1.0),
        ("<|assistant|><think>\n\n</think>\n\n", "length", 1.0),
        ("<|assistant|>", "length", 1.0),
    ],
)
def test_a_response_cut_off_in_a_thought_that_the_template_opened_earns_nothing(
    prompt_ends: str, finish_reason: FinishReason, reward: float
) -> None:
    problem = Problem(0, "p", "3", tuple(TOKENIZER("<|user|>Compute 1 a+2" + prompt_ends)["input_ids"]))
    ids = TOKENIZER("so \\boxed{3}")["input_ids"]
    engine = Recorded([Completion(ids, [-1.0] * len(ids), finish_reason, 0)])
    collector = Collector(engine, TOKENIZER, Scorer([RewardConfig(name="boxed")]), Rank(0, 1, CPU))
    found = collector.collect([problem], Limits(64, 128), Sampling(), num_samples=1, seed=(1,)).rollouts[0]
    assert (found.response, found.score.reward) == ("so \\boxed{3}", reward)


def test_rewards_are_given_the_prompts_and_whether_a_thought_was_opened_in_them(engine: TransformersEngine) -> None:
    class Watched(Scorer):
        def score(self, *arguments: Any, **named: Any) -> list[Score]:
            asked.append(arguments)
            return super().score(*arguments, **named)

    asked: list[tuple[Any, ...]] = []
    problems = [
        Problem(row, f"p{row}", "3", tuple(TOKENIZER(prompt)["input_ids"]), ({"role": "user", "content": f"p{row}"},))
        for row, prompt in enumerate(("<|user|>p0<|assistant|>", "<|user|>p1<|assistant|><think>"))
    ]
    collector = Collector(engine, TOKENIZER, Watched([RewardConfig(name="boxed")]), Rank(0, 1, CPU))
    collector.collect(problems, Limits(4, 128), Sampling(), num_samples=2, seed=(1,))
    assert asked[0][5:] == ([False, False, True, True], [problems[row].messages for row in (0, 0, 1, 1)])


def test_prompts_are_made_by_the_chat_template_and_long_ones_set_aside_and_counted() -> None:
    short = PromptedProblem(3, "Compute 1 a+2", "3", ({"role": "user", "content": "Compute 1 a+2"},))
    long = PromptedProblem(4, "Compute 1 a+2 b+3", "6", ({"role": "user", "content": "Compute 1 a+2 b+3"},))
    expected = TOKENIZER("<|user|>Compute 1 a+2<|assistant|>")["input_ids"]
    fitting, set_aside = tokenize_prompts([short, long], TOKENIZER, max_prompt_tokens=len(expected))
    assert fitting == [Problem(3, "Compute 1 a+2", "3", tuple(expected), short.messages)]
    assert set_aside == 1


def rollout(reward: float | None, tokens: int, *, cut: bool = False, answer: str | None = "1") -> Rollout:
    completion = Completion([7] * tokens, [-1.0] * tokens, "length" if cut else "stop", 0)
    return Rollout(PROBLEMS[0], 0, completion, "", Score(reward, {"boxed": reward}, answer))


def test_figures_of_responses_by_hand() -> None:
    rollouts = [rollout(1.0, 4), rollout(0.0, 10, cut=True, answer=None), rollout(None, 1), rollout(0.0, 5)]
    assert response_metrics(rollouts) == {
        "reward_mean": 1 / 3,
        "unscored_count": 1,
        "response_tokens_mean": 5.0,
        "response_tokens_max": 10,
        "truncated_fraction": 0.25,
        "no_answer_fraction": 0.25,
        "reward_boxed_mean": 1 / 3,
    }


def test_where_nothing_was_scored_there_is_no_mean() -> None:
    figures = response_metrics([rollout(None, 2), rollout(None, 3)])
    assert (figures["reward_mean"], figures["reward_boxed_mean"], figures["unscored_count"]) == (None, None, 2)


def test_ranks_that_generate_together_are_asked_the_same_and_answer_once(engine: TransformersEngine) -> None:
    shares = []
    for rank in range(4):
        watched = WatchedEngine(engine, ranks_per_engine=2)
        shares.append((watched.asked, collect(watched, rank, 4).rollouts))
    assert shares[0][0] == shares[1][0] != shares[2][0] == shares[3][0]
    assert shares[1][1] == shares[3][1] == []
    both = [(rollout.problem.index, rollout.sample) for rank in (0, 2) for rollout in shares[rank][1]]
    assert both == [(rollout.problem.index, rollout.sample) for rollout in collect(engine).rollouts]
