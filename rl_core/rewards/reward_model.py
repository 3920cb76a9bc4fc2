"""A learned reward model as a reward: the score of the whole conversation, the problem's prompt and the response.

Source: Ouyang et al. 2022, "Training language models to follow instructions with human feedback", arXiv:2203.02155,
equation 1, whose model is a transformer with one score in place of its output head.

torch is imported when the model is loaded, once in a process; see `rl_core.models.reward_model`.
"""

import math
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import Field

from rl_core.errors import MistakeError
from rl_core.rewards.answers import with_opened_thought
from rl_core.rewards.sample import Sample
from rl_core.types import Message

if TYPE_CHECKING:
    from rl_core.models.reward_model import RewardModel


class Judge(Protocol):
    """A reward model that is loaded."""

    context_tokens: int | None  # None: no limit

    def tokens(self, conversation: Sequence[Message]) -> list[int]:
        """A conversation by the model's own chat template."""
        ...

    def scores(self, sequences: Sequence[list[int]], max_batch_tokens: int) -> list[float]:
        """The score of each sequence, in their order."""
        ...


def reward_model(
    samples: Sequence[Sample],
    *,
    model: str,
    revision: str = "main",  # read by what fetches the model
    max_tokens: Annotated[int, Field(ge=1)] | None = None,
    batch_tokens: Annotated[int, Field(ge=1)] = 16384,
    mean: Annotated[float, Field(allow_inf_nan=False)] = 0.0,
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0,
    backbone: Literal["own", "shared"] = "own",
    trained_on: Literal["first_policy", "base"] = "first_policy",  # read by what puts adapters on the base
    judge: Judge | None = None,
) -> list[float | None]:
    """(score - mean) / scale for each conversation; None where it is too long, or the score is no finite number.

    Args:
        model: the model's folder; of a recipe that names a model on a hub, where that was fetched to.
        revision: of a model on a hub.
        max_tokens: of a conversation, by the model's own tokenizer; None is the model's context. A longer one is
            unscored, since a score of its beginning would be none of the answer.
        batch_tokens: computed together at most, padding included; a longer conversation is alone.
        mean, scale: of the model's scores, to bring them to the size of other rewards.
        backbone: own: a model of its own; shared: `model` is the folder of an adapter and a head, which are put on the
            frozen weights below the policy's adapter.
        trained_on: shared: the model that the adapter is for: the one that the first stage starts with, or the base
            without the adapter that the first stage goes on with.
        judge: shared: the model. No option of a recipe: a training hands it over.

    Raises:
        ValueError: the prompt of a response is not known.
        MistakeError: `backbone` is shared, and this is no training.
    """
    if backbone == "shared" and judge is None:
        raise MistakeError(
            "rewards: reward_model: backbone is 'shared', with the weights of what is trained: only a training can ask "
            "it; take backbone: own and the merged model"
        )
    judge = judge or load_judge(model)
    sequences = [judge.tokens(_conversation(sample)) for sample in samples]
    limit = max_tokens or judge.context_tokens or math.inf
    short = [index for index, sequence in enumerate(sequences) if len(sequence) <= limit]
    if len(short) < len(samples):
        told = f"{len(samples) - len(short)} of {len(samples)} conversations are longer than {limit} tokens"
        print(f"unscored by reward reward_model: {told}", file=sys.stderr, flush=True)
    values: list[float | None] = [None] * len(samples)
    for index, score in zip(short, judge.scores([sequences[index] for index in short], batch_tokens), strict=True):
        values[index] = (score - mean) / scale if math.isfinite(score) else None
    return values


@cache
def load_judge(folder: str) -> "RewardModel":
    """The model in a folder, loaded when first asked for and kept by this process."""
    from rl_core.models.reward_model import RewardModel

    return RewardModel(Path(folder).expanduser())


def _conversation(sample: Sample) -> list[Message]:
    """The prompt's messages and the response as the answer to them.

    A thought that the policy's template opened in the prompt is part of it; what becomes of thoughts is decided by the
    reward model's own template.
    """
    if not sample.messages:
        raise ValueError("reward_model needs the messages of every prompt")
    response = with_opened_thought(sample.response, sample.thought_open)
    return [*sample.messages, {"role": "assistant", "content": response}]
