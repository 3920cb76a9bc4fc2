"""One pass of a re-evaluation: one at a time in a folder of runs, and what it has left to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_core.config import dump_config
from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmark_files import check_local
from rl_core.evaluation.benchmarks import OF_THE_RUN
from rl_core.leaderboard.asked import lacking
from rl_core.leaderboard.files import BoardFiles
from rl_core.leaderboard.hub import hub_series
from rl_core.leaderboard.models import Model, Series, find_series
from rl_core.manifest import locked, write_text


@contextmanager
def open_pass(config: ReevaluationConfig, runs: Path | None = None) -> Iterator[BoardFiles]:
    """The files of the leaderboard of a folder of runs (default: the configuration's), for this process alone.

    Writes the settings where the processes that it starts find them. The folder that nobody named is made where it is
    not there yet: a pass on a schedule may come before the first run.

    Raises:
        MistakeError: there is no such folder, or another process works on it; or the benchmark is not to be had.
    """
    if config.benchmark is not None and config.benchmark not in OF_THE_RUN:
        check_local(config.benchmark, config.benchmark_folder, "benchmark")
    files = BoardFiles((runs or config.runs).resolve())
    if is_unnamed(config, runs):
        files.runs.mkdir(exist_ok=True)
    if not files.runs.is_dir():
        raise MistakeError(f"--runs {files.runs}: no such folder: give the one that holds the runs, or one run's")
    files.logs.mkdir(parents=True, exist_ok=True)
    try:
        with locked(files.logs, wait=False):
            write_text(files.config, dump_config(config))
            yield files
    except BlockingIOError:
        raise MistakeError(
            f"--runs {files.runs}: another process re-evaluates it now: wait for it, or stop it"
        ) from None


def is_unnamed(config: ReevaluationConfig, runs: Path | None) -> bool:
    """Whether nobody said which folder of runs it is."""
    return runs is None and config.runs == ReevaluationConfig.model_fields["runs"].default


def all_series(runs: Path, config: ReevaluationConfig) -> tuple[list[Series], list[str]]:
    """Every series that a pass is about; and what was left out, a sentence each."""
    found, left_out = find_series(runs)
    return [*found, *hub_series(runs, config)], left_out


def left_to_do(files: BoardFiles, config: ReevaluationConfig) -> Iterator[tuple[Series, Model]]:
    """The models to ask, each once, looked up anew when the one before is done.

    Meanwhile a training may have saved a checkpoint or removed one; and where a benchmark has other problems than
    before, which the first model that is asked shows, the others of its series are to be asked again.
    """
    series, left_out = all_series(files.runs, config)
    for sentence in left_out:
        print(f"left out: {sentence}", flush=True)
    if not series:
        print(f"nothing to evaluate yet: {files.runs} holds no run", flush=True)
    for name in [each.name for each in series]:
        asked: set[str] = set()
        while (found := _next(files.runs, config, name, asked)) is not None:
            asked.add(found[1].name)
            yield found


def _next(runs: Path, config: ReevaluationConfig, name: str, asked: set[str]) -> tuple[Series, Model] | None:
    """The first model of a series that is to be asked, and was not in this pass."""
    for series in all_series(runs, config)[0]:
        if series.name == name:
            return next(((series, model) for model in lacking(series, config) if model.name not in asked), None)
    return None  # the run was removed meanwhile
