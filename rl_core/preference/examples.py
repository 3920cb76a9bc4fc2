"""The pairs as token ids, by the chat template that a reward model reads a conversation with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from rl_core.errors import MistakeError
from rl_core.preference.batching import TokenizedPair
from rl_core.preference.table import PairRow, read_pairs
from rl_core.types import Message


@dataclass(frozen=True, slots=True)
class Examples:
    """The pairs of one file that fit; `rows` and `pairs` side by side."""

    rows: list[PairRow]
    pairs: list[TokenizedPair]
    num_too_long: int  # pairs that were set aside


def load_examples(file: Path, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Examples:
    """The pairs of a file, without those of which a conversation exceeds `max_tokens`.

    Raises:
        MistakeError: none fits.
    """
    rows = read_pairs(file)
    chosen = [conversation_ids([*row.prompt, *row.chosen], tokenizer) for row in rows]
    rejected = [conversation_ids([*row.prompt, *row.rejected], tokenizer) for row in rows]
    fitting = [place for place in range(len(rows)) if max(len(chosen[place]), len(rejected[place])) <= max_tokens]
    if not fitting:
        raise MistakeError(
            f"reward_model.max_tokens is {max_tokens}: none of the {len(rows)} pairs in {file} fits; raise it"
        )
    pairs = [TokenizedPair(number, chosen[place], rejected[place]) for number, place in enumerate(fitting)]
    return Examples([rows[place] for place in fitting], pairs, len(rows) - len(fitting))


def conversation_ids(conversation: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """A whole conversation as `rl_core.models.reward_model` reads it, with what the template ends a turn with."""
    ids: list[int] = tokenizer.apply_chat_template(list(conversation), return_dict=False)
    return ids
