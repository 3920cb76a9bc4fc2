"""The parquet files of a run: their columns, writing and reading them.

The columns are those that verl and siiRL read; `problem`, `answer` and `solution` stay beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rl_core.config.data import PromptConfig
from rl_core.data.prompt import prompt_messages
from rl_core.data.rows import Row
from rl_core.errors import MistakeError
from rl_core.manifest import digest_of
from rl_core.types import Message

SCHEMA = pa.schema(
    [
        ("problem", pa.string()),
        ("answer", pa.string()),
        ("solution", pa.string()),  # null where the data set has none
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("split", pa.string()), ("index", pa.int64())])),
    ]
)


@dataclass(frozen=True, slots=True)
class PromptedProblem:
    """One row, with the prompt as messages: not yet tokenized."""

    index: int  # row in the parquet file
    problem: str
    answer: str
    messages: tuple[Message, ...]
    solution: str | None = None


def write_problems(file: Path, rows: Sequence[Row], *, split: str, data_source: str, data: PromptConfig) -> None:
    """Write one split; equal rows give equal bytes."""
    records = [
        {
            "problem": row.problem,
            "answer": row.answer,
            "solution": row.solution,
            "data_source": data_source,
            "prompt": prompt_messages(row.problem, data),
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": row.answer},
            "extra_info": {"split": split, "index": index},
        }
        for index, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), file)


def load_problems(parquet: Path) -> list[PromptedProblem]:
    """The problems of one split, in the order of the file.

    Raises:
        MistakeError: there is no such file, or it is not one that `prepare` writes.
    """
    if not parquet.is_file():
        present = ", ".join(sorted(file.stem for file in parquet.parent.glob("*.parquet"))) or "none"
        raise MistakeError(f"{parquet}: no such file (that folder has: {present}); `prepare` writes train, test, probe")
    try:
        records = pq.read_table(parquet, columns=["problem", "answer", "prompt", "solution"]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise MistakeError(f"{parquet}: not a parquet file of problems: {' '.join(str(error).split())[:300]}") from None
    return [
        PromptedProblem(index, record["problem"], record["answer"], tuple(record["prompt"]), record["solution"])
        for index, record in enumerate(records)
    ]


def load_solutions(parquet: Path) -> list[str | None]:
    """The worked solution of each problem, in the order of the file; None where the data set has none."""
    solutions: list[str | None] = pq.read_table(parquet, columns=["solution"])["solution"].to_pylist()
    return solutions


def dataset_digest(parquet: Path) -> str:
    """Identifies what a split asks and expects: problems and answers in their order, however the file is encoded.

    How a problem is put belongs to the protocol, so that one data set has one digest, whoever is asked.
    """
    return digest_of([[problem.problem, problem.answer] for problem in load_problems(parquet)])
