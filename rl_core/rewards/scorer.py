"""From responses to scores: every configured reward, their weighted sum, and the breakdown."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial

from pydantic import TypeAdapter, ValidationError

from rl_core.config.rewards import RewardConfig
from rl_core.errors import MistakeError
from rl_core.rewards.answer_tag import answer_tag
from rl_core.rewards.answers import extract_answer, final_answer
from rl_core.rewards.boxed import boxed
from rl_core.rewards.deepscaler import deepscaler
from rl_core.rewards.grading import pool
from rl_core.rewards.math_verify import math_verify
from rl_core.rewards.overlong import overlong_penalty
from rl_core.rewards.reward_model import Judge, load_judge, reward_model
from rl_core.rewards.sample import Sample
from rl_core.rewards.shaped import shaped
from rl_core.rewards.user import UserReward
from rl_core.types import Message, Score

RewardFunction = Callable[[Sequence[Sample]], list[float | None]]
"""One value per sample, in order; None where the sample could not be scored."""

REWARDS: dict[str, Callable[..., list[float | None]]] = {
    "boxed": boxed,
    "deepscaler": deepscaler,
    "math_verify": math_verify,
    "answer_tag": answer_tag,
    "shaped": shaped,
    "overlong_penalty": overlong_penalty,
    "reward_model": reward_model,
}
GRADED = frozenset(("deepscaler", "math_verify", "answer_tag", "shaped"))  # rewards that may ask the slow path
NO_OPTIONS = frozenset(("samples", "judge"))  # of a reward's arguments, those that no recipe gives
BOX_ONLY = frozenset(("boxed", "deepscaler", "overlong_penalty", "reward_model"))  # that do not look at <answer> tags


class Scorer:
    """The rewards of a recipe, ready to score.

    Raises:
        MistakeError: a reward's options or a user's function are wrong.
    """

    def __init__(self, rewards: Sequence[RewardConfig], judge: Judge | None = None) -> None:
        """Args:
        judge: the reward model that shares its weights with what is trained, where the recipe has one.
        """
        names = [reward.name for reward in rewards]
        for name in sorted(name for name in set(names) if names.count(name) > 1):
            raise MistakeError(
                f"rewards: two have the same name: {name}; give a function of yours another `name`, and one of the "
                "project's own once, with the weight of both"
            )
        self._extract = extract_answer if BOX_ONLY.issuperset(names) else final_answer
        own = [reward for reward in rewards if reward.is_reward_model and not reward.shares_backbone]
        self._judges = [reward.kwargs["model"] for reward in own]
        self._rewards = [(reward.name, reward.weight, load_reward(reward, judge)) for reward in rewards]

    def warm_up(self) -> None:
        """Start what the rewards will ask beside this process, without waiting for it; load a reward model."""
        if GRADED.intersection(name for name, _, _ in self._rewards):
            pool.warm_up()
        for folder in self._judges:
            load_judge(folder)

    def score(
        self,
        responses: Sequence[str],
        golds: Sequence[str],
        truncated: Sequence[bool],
        num_tokens: Sequence[int] | None = None,
        max_tokens: Sequence[int] | None = None,
        thought_open: Sequence[bool] | None = None,
        messages: Sequence[Sequence[Message]] | None = None,
    ) -> list[Score]:
        """The scores of responses, in their order.

        A response that one of the rewards could not score has no reward: None, never zero.

        Args:
            responses: what the model wrote, without the prompt.
            golds: the right answer to each.
            truncated: whether each was cut off by the limit on tokens.
            num_tokens, max_tokens: of each response, and its limit; for rewards that look at lengths.
            thought_open: whether each prompt ends inside a thought; without it, none does.
            messages: of each prompt; for a reward model.
        """
        unknown = [None] * len(responses)
        thoughts = thought_open or [False] * len(responses)
        prompts = map(tuple, messages or [()] * len(responses))
        columns = (responses, golds, truncated, num_tokens or unknown, max_tokens or unknown, thoughts, prompts)
        samples = [Sample(*values) for values in zip(*columns, strict=True)]
        values = {name: function(samples) for name, _, function in self._rewards}
        return [
            self._combine({name: column[row] for name, column in values.items()}, sample)
            for row, sample in enumerate(samples)
        ]

    def _combine(self, breakdown: dict[str, float | None], sample: Sample) -> Score:
        reward: float | None = 0.0
        for name, weight, _ in self._rewards:
            value = breakdown[name]
            reward = None if reward is None or value is None else reward + weight * value
        return Score(reward, breakdown, self._extract(sample.graded))


def load_reward(reward: RewardConfig, judge: Judge | None = None) -> RewardFunction:
    """The function of a reward, its options bound: what is wrong with them is told here, before anything is sampled."""
    if reward.file is not None:
        return UserReward(reward.name, reward.file, reward.function, reward.kwargs)
    function = REWARDS[reward.name]
    parameters = inspect.signature(function).parameters
    options = {name: option for name, option in parameters.items() if name not in NO_OPTIONS}
    for name, value in reward.kwargs.items():
        if name not in options:
            allowed = f"it has {', '.join(options)}" if options else "it has none"
            raise MistakeError(f"rewards: {reward.name} has no option `{name}`: {allowed}")
        try:
            TypeAdapter(options[name].annotation).validate_python(value, strict=True)
        except ValidationError as problem:
            raise MistakeError(f"rewards: {reward.name}: {name} is {value!r}: {problem.errors()[0]['msg']}") from None
    missing = [name for name, option in options.items() if option.default is option.empty and name not in reward.kwargs]
    if missing:
        raise MistakeError(f"rewards: {reward.name} needs the option `{missing[0]}`")
    if reward.shares_backbone:
        return partial(function, judge=judge, **reward.kwargs)
    return partial(function, **reward.kwargs)
