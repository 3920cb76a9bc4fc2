"""Problems that models are asked and a run also trains on: what is right there may be memory."""

from collections.abc import Set
from pathlib import Path

import pyarrow.parquet as pq

from rl_core.config import SFT
from rl_core.data.rows import comparable

TRAINED = ("train", "pairs", SFT)  # what `prepare` writes and something is learned from


def trained_problems(data: Path) -> frozenset[str]:
    """Every problem in the folder that `prepare` filled from which something is learned, as `comparable` has it."""
    files = [file for file in (data / f"{name}.parquet" for name in TRAINED) if file.is_file()]
    return frozenset(problem for file in files for problem in _comparable(file))


def count_trained(trained: Set[str], problems: Path) -> int:
    """How many problems of a parquet file are among those of `trained_problems`, however they are written."""
    return sum(problem in trained for problem in _comparable(problems))


def _comparable(file: Path) -> list[str]:
    return [comparable(problem) for problem in pq.read_table(file, columns=["problem"])["problem"].to_pylist()]
