"""Fetches the data sets and the benchmarks."""

from rl_core.evaluation.benchmarks import OF_THE_RUN, is_file
from rl_core.plan import DONE, benchmark_parts, sources_part
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.recipe_task import DOWNLOAD_DELAYS, recipe_task


@recipe_task(sources_part, DOWNLOAD_DELAYS, look_again=lambda run: has_local_sources(run) or lacks_benchmarks(run))
def download(run: RunDir) -> None:
    """Fetch the data sets and benchmarks that the recipe names, and record which revision came."""
    run_stage(run, sources_part(run).name, "download")


def has_local_sources(run: RunDir) -> bool:
    """Whether a data set or benchmark is a file here, which may have changed since it was copied: it is compared."""
    evaluation = run.config.evaluation
    of_others = [benchmark for benchmark in evaluation.benchmarks if benchmark not in OF_THE_RUN]
    local = any(is_file(benchmark) or evaluation.benchmark_folder for benchmark in of_others)
    return local or "path" in (run.config.data.train.source, run.config.data.test.source)


def lacks_benchmarks(run: RunDir) -> bool:
    """Whether a benchmark is still to be fetched: one may be added to a recipe that has run."""
    return any(part.state != DONE for part in benchmark_parts(run))
