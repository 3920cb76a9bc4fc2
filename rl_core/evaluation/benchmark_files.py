"""A benchmark's files: where they are on this machine, and their rows. Imports nothing heavy."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from rl_core.config.data import DatasetConfig
from rl_core.data.raw import SUFFIXES, RawRow, column_names, read_rows
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import BENCHMARKS, Benchmark, is_file

# What published files of problems call the two columns; the benchmark's own names come first.
PROBLEM_COLUMNS, ANSWER_COLUMNS = ("problem", "question"), ("answer", "final_answer")


def local_file(benchmark: str, folder: str | None, field: str) -> Path | None:
    """The file on this machine that a benchmark is read from; None: it is on the hub.

    Raises:
        MistakeError: it should be here, and is not.
    """
    if is_file(benchmark):
        path = Path(benchmark).expanduser()
        if not path.is_file():
            raise MistakeError(f"{field} is {benchmark!r}: no such file (from {Path.cwd()})")
        return path
    if folder is None:
        return None
    found = [file for suffix in SUFFIXES if (file := Path(folder).expanduser() / f"{benchmark}{suffix}").is_file()]
    if not found:
        raise MistakeError(
            f"{field} is {benchmark!r}: {folder} (evaluation.benchmark_folder) has no file of that name "
            f"({', '.join(SUFFIXES)}): put it there, or set the folder to null for the hub"
        )
    return found[0]


def check_local(benchmark: str, folder: str | None, field: str) -> None:
    """Look at a benchmark that is a file here, before anything starts.

    Raises:
        MistakeError: it is not there, cannot be read, or lacks a column.
    """
    file = local_file(benchmark, folder, field)
    if file is not None and (file.suffix.lower() != ".parquet" or importlib.util.find_spec("pyarrow") is not None):
        read_benchmark([file], None if is_file(benchmark) else BENCHMARKS[benchmark], field)


def read_benchmark(files: Sequence[Path], known: Benchmark | None, field: str) -> list[RawRow]:
    """Every row, with its columns under the names `problem` and `answer`."""
    rows = []
    for file in files:
        present = column_names(file, field)
        problem = _column(present, PROBLEM_COLUMNS, known.problem_column if known else None, file, field)
        answer = _column(present, ANSWER_COLUMNS, known.answer_column if known else None, file, field)
        dataset = DatasetConfig(
            source="path", path=str(file), problem_column=problem, answer_column=answer, solution_column=None
        )
        rows += [
            RawRow(row.file, row.row, {"problem": row.values.get(problem), "answer": row.values.get(answer)})
            for row in read_rows(file, field, dataset)
        ]
    return rows


def _column(present: Sequence[str], usual: Sequence[str], own: str | None, file: Path, field: str) -> str:
    wanted = dict.fromkeys([*([own] if own else []), *usual])
    found = next((name for name in wanted if name in present), None)
    if found is None:
        raise MistakeError(
            f"{field}: {file.name} has none of the columns {', '.join(wanted)}: rename one of its own "
            f"({', '.join(present)})"
        )
    return found
