"""From problems to scored responses. Every rank samples and scores its share; afterwards every rank holds them all.

With the whole batch on every rank, what a step computes does not depend on how many ranks there are, and work is dealt
out by length. The batch is token ids and numbers: small beside the model.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from rl_core.config import StageConfig
from rl_core.data.parquet import PromptedProblem
from rl_core.progress import Progress
from rl_core.rewards import Scorer, opens_thought
from rl_core.rollout.engine import RolloutEngine, Sampling
from rl_core.types import Completion, Problem, Request, Score
from rl_core.world import World, derive_seed

PROMPT_END_TOKENS = 16  # more than the tag that opens a thought takes, and the white space behind it


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a response may get, in tokens."""

    max_response_tokens: int
    max_total_tokens: int  # of prompt and response together

    @classmethod
    def of_stage(cls, stage: StageConfig) -> "Limits":
        return cls(stage.max_response_tokens, stage.context_tokens)

    def response_tokens(self, problem: Problem) -> int:
        """The most tokens that a response to this problem may have."""
        return min(self.max_response_tokens, self.max_total_tokens - len(problem.prompt_ids))


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response to one problem, scored."""

    problem: Problem
    sample: int  # 0..G-1 among the problem's responses
    completion: Completion
    response: str  # the completion as text, without special tokens
    score: Score

    @property
    def truncated(self) -> bool:
        return self.completion.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Collected:
    """Rollouts in the order of their problems, G side by side, and the time of this rank's share."""

    rollouts: list[Rollout]
    generate_seconds: float
    score_seconds: float


def tokenize_prompts(
    problems: Sequence[PromptedProblem], tokenizer: PreTrainedTokenizerBase, max_prompt_tokens: int
) -> tuple[list[Problem], int]:
    """The problems whose prompt fits, by the tokenizer's own chat template; and how many did not fit."""
    encoded = [
        Problem(
            problem.index,
            problem.problem,
            problem.answer,
            tuple(tokenizer.apply_chat_template(list(problem.messages), add_generation_prompt=True, return_dict=False)),
            problem.messages,
        )
        for problem in problems
    ]
    fitting = [problem for problem in encoded if len(problem.prompt_ids) <= max_prompt_tokens]
    return fitting, len(encoded) - len(fitting)


class Collector:
    """Samples and scores with one engine, one tokenizer and one set of rewards."""

    def __init__(self, engine: RolloutEngine, tokenizer: PreTrainedTokenizerBase, scorer: Scorer, world: World) -> None:
        self._engine, self._tokenizer, self._scorer, self._world = engine, tokenizer, scorer, world
        scorer.warm_up()

    def collect(
        self,
        problems: Sequence[Problem],
        limits: Limits,
        sampling: Sampling,
        *,
        num_samples: int,
        seed: Sequence[int | str],
        progress: Progress | None = None,
    ) -> Collected:
        """`num_samples` responses to each problem, on every rank. A collective call.

        Args:
            seed: parts of every response's seed; the problem's and the sample's index are added.
        """
        wanted = [(problem, sample) for problem in problems for sample in range(num_samples)]
        group_size = self._engine.ranks_per_engine
        own = [wanted[index] for index in self._world.share(len(wanted), group_size=group_size)]
        start = time.perf_counter()
        requests = [
            Request(problem.prompt_ids, limits.response_tokens(problem), derive_seed(*seed, problem.index, sample))
            for problem, sample in own
        ]
        completions = self._engine.generate(requests, sampling, progress)
        generated = time.perf_counter()
        if self._world.rank % group_size:  # the first of the group speaks for it
            own, completions = [], []
        rollouts = scored(own, completions, self._tokenizer, self._scorer, limits)
        score_seconds = time.perf_counter() - generated
        gathered = [rollout for share in self._world.gather(rollouts) for rollout in share]
        return Collected(gathered, generated - start, score_seconds)


def scored(
    wanted: Sequence[tuple[Problem, int]],
    completions: Sequence[Completion],
    tokenizer: PreTrainedTokenizerBase,
    scorer: Scorer,
    limits: Limits,
) -> list[Rollout]:
    """Completions, each with its text and score.

    Args:
        wanted: of each completion its problem and the number of the sample.
    """
    # One by one: batch_decode makes one text of no completions, which is what a rank with an empty share has.
    responses = [tokenizer.decode(completion.token_ids, skip_special_tokens=True) for completion in completions]
    scores = scorer.score(
        responses,
        [problem.answer for problem, _ in wanted],
        [completion.finish_reason == "length" for completion in completions],
        [len(completion.token_ids) for completion in completions],
        [limits.response_tokens(problem) for problem, _ in wanted],
        [ends_in_thought(problem.prompt_ids, tokenizer) for problem, _ in wanted],
        [problem.messages for problem, _ in wanted],
    )
    return [
        Rollout(problem, sample, completion, response, score)
        for (problem, sample), completion, response, score in zip(wanted, completions, responses, scores, strict=True)
    ]


def ends_in_thought(prompt_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the prompt opens a thought, in which the response begins."""
    return opens_thought(tokenizer.decode(list(prompt_ids[-PROMPT_END_TOKENS:])))


def response_metrics(rollouts: Sequence[Rollout]) -> dict[str, float | int | None]:
    """What a set of responses looks like: rewards, lengths, how many were cut off, unanswered or unscored."""
    rewards = [rollout.score.reward for rollout in rollouts if rollout.score.reward is not None]
    lengths = [len(rollout.completion.token_ids) for rollout in rollouts]
    return {
        "reward_mean": _mean(rewards),
        "unscored_count": len(rollouts) - len(rewards),
        "response_tokens_mean": _mean(lengths),
        "response_tokens_max": max(lengths),
        "truncated_fraction": _mean([rollout.truncated for rollout in rollouts]),
        "no_answer_fraction": _mean([rollout.score.extracted is None for rollout in rollouts]),
        **_breakdown_means(rollouts),
    }


def _breakdown_means(rollouts: Sequence[Rollout]) -> dict[str, float | None]:
    names = rollouts[0].score.breakdown
    columns = {name: [rollout.score.breakdown.get(name) for rollout in rollouts] for name in names}
    return {f"reward_{name}_mean": _mean([v for v in column if v is not None]) for name, column in columns.items()}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
