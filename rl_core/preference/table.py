"""The parquet files of preferences: what was sampled, and the pairs. Their columns, written and read.

Prompt, chosen and rejected are messages of a chat, so that other trainers read the files as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rl_core.preference.pairing import ChosenFrom, Pair, Response
from rl_core.types import Message

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
PAIRS = pa.schema(
    [
        ("index", pa.int64()),  # of the problem's row in the data
        ("problem", pa.string()),
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),  # the assistant's turn
        ("rejected", MESSAGES),
        ("chosen_tokens", pa.int64()),  # of the response, by the policy's tokenizer, with its end
        ("rejected_tokens", pa.int64()),
        ("chosen_from", pa.string()),  # model or solution
        ("rejected_truncated", pa.bool_()),  # cut off by pairs.max_new_tokens
    ]
)
SAMPLES = pa.schema(
    [
        ("index", pa.int64()),
        ("sample", pa.int64()),  # 0..n-1 among the problem's
        ("response", pa.string()),  # without special tokens
        ("response_tokens", pa.int64()),
        ("correct", pa.bool_()),  # null: unscored
        ("truncated", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class PairRow:
    """One pair as it is read back."""

    index: int
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    chosen_tokens: int
    rejected_tokens: int
    chosen_from: ChosenFrom


def write_pairs(file: Path, pairs: Sequence[Pair], prompts: dict[int, tuple[Message, ...]]) -> None:
    """Write pairs; equal pairs give equal bytes.

    Args:
        prompts: the messages of each problem's prompt, by its index.
    """
    records = [
        {
            "index": pair.index,
            "problem": pair.problem,
            "prompt": list(prompts[pair.index]),
            "chosen": [_turn(pair.chosen)],
            "rejected": [_turn(pair.rejected)],
            "chosen_tokens": pair.chosen.num_tokens,
            "rejected_tokens": pair.rejected.num_tokens,
            "chosen_from": pair.chosen_from,
            "rejected_truncated": pair.rejected.truncated,
        }
        for pair in pairs
    ]
    pq.write_table(pa.Table.from_pylist(records, schema=PAIRS), file)


def read_pairs(file: Path) -> list[PairRow]:
    """The pairs of a file, in its order."""
    names = [*PairRow.__slots__]
    records = pq.read_table(file, columns=names).to_pylist()
    return [PairRow(**{name: _value(record[name]) for name in names}) for record in records]


def write_samples(file: Path, samples: Sequence[tuple[int, Response]]) -> None:
    """Write responses, each with the index of its problem, those of a problem side by side."""
    records, last, number = [], None, 0
    for index, response in samples:
        number = number + 1 if index == last else 0
        last = index
        records.append(
            {
                "index": index,
                "sample": number,
                "response": response.text,
                "response_tokens": response.num_tokens,
                "correct": response.correct,
                "truncated": response.truncated,
            }
        )
    pq.write_table(pa.Table.from_pylist(records, schema=SAMPLES), file)


def read_samples(file: Path) -> list[tuple[int, Response]]:
    """What `write_samples` wrote."""
    return [
        (
            record["index"],
            Response(record["response"], record["response_tokens"], record["correct"], record["truncated"]),
        )
        for record in pq.read_table(file).to_pylist()
    ]


def _turn(response: Response) -> Message:
    return {"role": "assistant", "content": response.text}


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
