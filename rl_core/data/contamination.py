"""Problems that models are asked and a run also trains on: what is right there may be memory."""

from pathlib import Path

import pyarrow.parquet as pq

from rl_core.config import SFT
from rl_core.data.rows import comparable

TRAINED = ("train", "pairs", SFT)  # what `prepare` writes and something is learned from


def count_trained(data: Path, problems: Path) -> int:
    """How many problems of a parquet file are among those that something is learned from, however they are written.

    Args:
        data: the folder that `prepare` filled.
    """
    files = [file for file in (data / f"{name}.parquet" for name in TRAINED) if file.is_file()]
    trained = {problem for file in files for problem in _comparable(file)}
    return sum(problem in trained for problem in _comparable(problems))


def _comparable(file: Path) -> list[str]:
    return [comparable(problem) for problem in pq.read_table(file, columns=["problem"])["problem"].to_pylist()]
