"""From a benchmark's name or file to its problems as parquet, with where they came from. Imports no torch.

    <folder>/problems.parquet    the columns of `rl_core.data.parquet`
    <folder>/manifest.json       source, commit and digests of its files, rows set aside and why, digest of the problems

Every row that can be marked is asked: a benchmark has no row left out in silence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_core.config.data import DatasetConfig, PromptConfig
from rl_core.data.held_out import hold_out
from rl_core.data.local import check_unchanged
from rl_core.data.parquet import dataset_digest, write_problems
from rl_core.data.raw import RawRow
from rl_core.data.rows import count_reasons, count_repairs, usable_rows
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmark_files import local_file, read_benchmark
from rl_core.evaluation.benchmarks import BENCHMARKS, OF_THE_RUN, OWN_COPY, Benchmark, benchmark_name, is_file
from rl_core.manifest import file_digest, publishing
from rl_core.part_keys import finished_part
from rl_core.run_dir import RunDir

PROBLEMS = OWN_COPY[1]


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
        folder, key = run.benchmark(benchmark), run.keys.benchmark(benchmark)
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
    raw = _asked(read_benchmark(source.files, known, field), known)
    rows, set_aside = usable_rows(raw, DatasetConfig(source="embedded", solution_column=None), prompt.prompt_template)
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(set_aside).items())
        raise MistakeError(f"{field} is {benchmark!r}: none of its {len(raw)} rows can be asked ({reasons})")
    digests: dict[str, str] = {}
    facts: dict[str, Any] = {
        "benchmark": benchmark_name(benchmark),
        "source": source.origin,
        "rows_read": len(raw),
        "rows": len(rows),
        "set_aside": count_reasons(set_aside),
        "repaired": count_repairs(rows),
        "dataset_digests": digests,
    }
    with publishing(into, key=key, **facts) as partial:
        file = partial / PROBLEMS
        write_problems(file, rows, split="benchmark", data_source=benchmark_name(benchmark), data=prompt)
        digests[facts["benchmark"]] = dataset_digest(file)
    told = ", ".join(f"{count} {reason}" for reason, count in facts["set_aside"].items()) or "none"
    print(f"{facts['benchmark']}: {len(rows)} problems, digest {digests[facts['benchmark']]}; set aside: {told}")


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
