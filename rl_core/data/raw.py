"""Raw rows as their files hold them: json, jsonl and parquet. Called by `prepare`; judges no row.

pyarrow is imported where a parquet file is read: a worker that only starts runs has none.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_core.config.data import DatasetConfig
from rl_core.errors import MistakeError

SUFFIXES = (".json", ".jsonl", ".parquet")
BATCH_ROWS = 256  # of a parquet file that is read in pieces


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row before anything was asked of it."""

    file: str  # its name, without folders
    row: int  # in that file, counted from 0
    values: dict[str, Any]


def check_suffix(field: str, name: str) -> None:
    """Refuse a file of a kind that cannot be read.

    Raises:
        MistakeError: the name ends in none of SUFFIXES.
    """
    if not name.lower().endswith(SUFFIXES):
        raise MistakeError(f"{field} is {name!r}: files of this kind cannot be read (can be: {', '.join(SUFFIXES)})")


def read_rows(file: Path, field: str, dataset: DatasetConfig) -> list[RawRow]:
    """The rows of one file, with those columns that the recipe names.

    Args:
        field: dotted name of the data set in the recipe, for messages: "data.train".

    Raises:
        MistakeError: the file cannot be read, holds no rows, or lacks a column that the recipe names.
    """
    check_suffix(field, file.name)
    columns = _columns(dataset)
    values = _read_parquet(file, field, columns) if file.suffix.lower() == ".parquet" else _read_json(file, field)
    if not values:
        raise MistakeError(f"{field}: {file.name} holds no rows")
    _check_columns(list(dict.fromkeys(name for row in values for name in row)), columns, file, field)
    return [RawRow(file.name, number, row) for number, row in enumerate(values)]


def column_names(file: Path, field: str) -> list[str]:
    """The columns of a file, in the order in which they are first met.

    Raises:
        MistakeError: the file cannot be read.
    """
    check_suffix(field, file.name)
    if file.suffix.lower() != ".parquet":
        return list(dict.fromkeys(name for row in _read_json(file, field) for name in row))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(file).names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, field, "parquet", str(error)) from None


def stream_rows(file: Path, field: str, columns: Mapping[str, str]) -> Iterator[RawRow]:
    """The rows of one file with these columns, of parquet a piece at a time: files of traces are larger than memory.

    Args:
        columns: their names, by the setting that names each.

    Raises:
        MistakeError: as `read_rows`.
    """
    check_suffix(field, file.name)
    values: Iterable[dict[str, Any]]
    if file.suffix.lower() != ".parquet":
        values = rows = _read_json(file, field)
        _check_columns(list(dict.fromkeys(name for row in rows for name in row)), columns, file, field)
    else:
        values = _stream_parquet(file, field, columns)
    yield from (RawRow(file.name, number, row) for number, row in enumerate(values))


def _stream_parquet(file: Path, field: str, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            _check_columns(parquet.schema_arrow.names, columns, file, field)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=sorted(set(columns.values()))):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, field, "parquet", str(error)) from None


def _columns(dataset: DatasetConfig) -> dict[str, str]:
    """Column names by the setting that names them."""
    columns = {"problem_column": dataset.problem_column, "answer_column": dataset.answer_column}
    return columns | ({"solution_column": dataset.solution_column} if dataset.solution_column else {})


def _check_columns(present: list[str], columns: Mapping[str, str], file: Path, field: str) -> None:
    for setting, column in columns.items():
        if column not in present:
            null = ", or null when there is none" if setting == "solution_column" else ""
            raise MistakeError(
                f"{field}.{setting} is {column!r}, but {file.name} has no such column: set it to one of "
                f"{', '.join(present)}{null}"
            )


def _read_parquet(file: Path, field: str, columns: dict[str, str]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            _check_columns(parquet.schema_arrow.names, columns, file, field)
            rows: list[dict[str, Any]] = parquet.read(columns=sorted(set(columns.values()))).to_pylist()
            return rows
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, field, "parquet", str(error)) from None


def _read_json(file: Path, field: str) -> list[dict[str, Any]]:
    """Rows of a list of objects, or of one object a line; either is found under either suffix."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        values = json.loads(text) if text.lstrip().startswith("[") else _json_lines(text)
    except (ValueError, OSError) as error:  # bad JSON and bad UTF-8 are both ValueErrors
        raise _unreadable(file, field, "JSON", str(error)) from None
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise _unreadable(file, field, "JSON rows", f"row {number} is no object of named columns")
    return list(values)


def _json_lines(text: str) -> list[Any]:
    values = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                values.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"neither a list of objects nor one object a line; line {number}: {error}") from None
    return values


def _unreadable(file: Path, field: str, kind: str, reason: str) -> MistakeError:
    return MistakeError(
        f"{field}: {file.name} cannot be read as {kind} ({' '.join(reason.split())[:300]}): give a whole file, "
        "or set the field to another"
    )
