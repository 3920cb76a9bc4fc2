"""From a benchmark's name or file to its problems as parquet, with where they came from. Imports no torch.

    <folder>/problems.parquet    the columns of `rl_core.data.parquet`
    <folder>/manifest.json       source, commit and digests of its files, rows set aside and why, digest of the problems

Every row that can be marked is asked: a benchmark has no row left out in silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_core.config.data import DatasetConfig, PromptConfig
from rl_core.data.held_out import hold_out
from rl_core.data.local import check_unchanged
from rl_core.data.parquet import dataset_digest, write_problems
from rl_core.data.raw import SUFFIXES, RawRow, column_names, read_rows
from rl_core.data.rows import count_reasons, count_repairs, usable_rows
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import BENCHMARKS, OF_THE_RUN, Benchmark, benchmark_name, is_file
from rl_core.manifest import file_digest, publishing
from rl_core.run_dir import RunDir, finished_part

PROBLEMS = "problems.parquet"
# What published files of problems call the two columns; the benchmark's own names come first.
PROBLEM_COLUMNS, ANSWER_COLUMNS = ("problem", "question"), ("answer", "final_answer")


@dataclass(frozen=True, slots=True)
class _Source:
    """The files of a benchmark on this machine, and where they came from."""

    files: list[Path]
    origin: dict[str, Any]


def take_benchmarks(run: RunDir) -> None:
    """Take every benchmark of a recipe that is not of the run's own data; those that are there are only compared.

    Raises:
        MistakeError: one is not there, cannot be read, or has changed since it was taken.
        ConnectionError: the hub did not answer; trying again may help.
    """
    evaluation = run.config.evaluation
    for benchmark in evaluation.benchmarks:
        if benchmark in OF_THE_RUN:
            continue
        folder, key = run.benchmark(benchmark), run.benchmark_key(benchmark)
        field = "evaluation.benchmark" if benchmark == evaluation.benchmark else "evaluation.further_benchmarks"
        finished = finished_part(folder, key)
        if finished is None:
            take_benchmark(benchmark, evaluation.benchmark_folder, run.config.data, folder, key=key, field=field)
        elif finished["source"]["source"] == "path":
            check_unchanged(finished["source"], field, folder)


def take_benchmark(
    benchmark: str, folder: str | None, prompt: PromptConfig, into: Path, *, key: str, field: str
) -> None:
    """Fill `into` with the problems of a benchmark.

    Args:
        folder: where benchmarks by name are looked for in place of the hub; None: the hub.
        prompt: whose text is taken off a problem that carries it already.
        field: dotted name of the setting that names the benchmark, for messages.

    Raises:
        MistakeError: it is not there, may not be read, or none of its rows can be asked.
        ConnectionError: the hub did not answer; trying again may help.
    """
    local = local_file(benchmark, folder, field)
    known = None if is_file(benchmark) else BENCHMARKS[benchmark]
    if local is not None:
        source = _Source([local], {"source": "path", "path": str(local.absolute()), "files": [_described(local)]})
        known = None if known is None else Benchmark(known.repo_id, (), "", known.problem_column, known.answer_column)
    else:
        assert known is not None, "a file is local"
        source = _fetch(known, field)
    raw = _asked(_read(source.files, known, field), known)
    rows, set_aside = usable_rows(raw, DatasetConfig(source="embedded", solution_column=None), prompt.prompt_template)
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(set_aside).items())
        raise MistakeError(f"{field} is {benchmark!r}: none of its {len(raw)} rows can be asked ({reasons})")
    facts: dict[str, Any] = {
        "benchmark": benchmark_name(benchmark),
        "source": source.origin,
        "rows_read": len(raw),
        "rows": len(rows),
        "set_aside": count_reasons(set_aside),
        "repaired": count_repairs(rows),
    }
    with publishing(into, key=key, **facts) as partial:
        file = partial / PROBLEMS
        write_problems(file, rows, split="benchmark", data_source=benchmark_name(benchmark), data=prompt)
    told = ", ".join(f"{count} {reason}" for reason, count in facts["set_aside"].items()) or "none"
    print(f"{facts['benchmark']}: {len(rows)} problems, digest {dataset_digest(into / PROBLEMS)}; set aside: {told}")


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
    if file is not None:
        _read([file], None if is_file(benchmark) else BENCHMARKS[benchmark], field)


def _read(files: Sequence[Path], known: Benchmark | None, field: str) -> list[RawRow]:
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


def _asked(raw: list[RawRow], known: Benchmark | None) -> list[RawRow]:
    if known is None:
        return raw
    if known.held_out is not None:
        return hold_out(raw, *known.held_out)[1]
    return raw[slice(*known.rows)] if known.rows else raw


def _fetch(known: Benchmark, field: str) -> _Source:
    from rl_core.data.hub import fetch_files  # reads HF_ENDPOINT, and is not needed without a hub

    files, origin = fetch_files(known.repo_id, known.revision, known.files, field)
    return _Source(files, {**origin, "files": [_described(file) for file in files]})


def _described(file: Path) -> dict[str, Any]:
    return {"name": file.name, "bytes": file.stat().st_size, "digest": file_digest(file)}
