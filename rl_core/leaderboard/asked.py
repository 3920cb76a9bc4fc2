"""What a pass asks the models of a series: benchmark and protocol, in place of the recipe's own where it says so."""

from pathlib import Path

from rl_core.config.data import PromptConfig
from rl_core.config.evaluation import EvaluationConfig
from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.evaluation.benchmarks import OF_THE_RUN, benchmark_name
from rl_core.leaderboard.models import Model, Series
from rl_core.manifest import digest_of, read_json
from rl_core.run_dir import evaluation_name

Asked = tuple[str, str]  # name of the benchmark, digest of the protocol


def own_settings(config: ReevaluationConfig) -> dict[str, object]:
    """The settings of a recipe's `evaluation` that the pass has its own of, by name."""
    asked = {name: getattr(config, name) for name in ("benchmark", "benchmark_folder", "protocol")}
    return {name: value for name, value in asked.items() if value is not None}


def asked_of(series: Series, config: ReevaluationConfig) -> Asked:
    """As evaluations have it."""
    evaluation, prompt = _evaluation(series, config)
    return benchmark_name(evaluation.benchmark), digest_of(evaluation.protocol.identity(prompt))


def benchmark_of(series: Series, config: ReevaluationConfig) -> str:
    """The benchmark as the command `evaluate` takes it: by name, or a file.

    What a run's own recipe asks is read from the run's own copy: the file or the hub may have other problems by now,
    and their results would take the place of the recipe's.
    """
    evaluation, _ = _evaluation(series, config)
    if series.run is None:
        return evaluation.benchmark
    own = series.run.problems(evaluation.benchmark)
    is_own = evaluation.benchmark in OF_THE_RUN or (config.benchmark is None and own.is_file())
    return str(own) if is_own else evaluation.benchmark


def results_name(series: Series, config: ReevaluationConfig) -> str:
    """The file of the results in the folder of a model's evaluations."""
    evaluation, prompt = _evaluation(series, config)
    return evaluation_name(evaluation.benchmark, evaluation.protocol.identity(prompt))


def evaluated(series: Series, config: ReevaluationConfig) -> list[Model]:
    """The models that were asked this already: the same problems as the model of the series that was asked last."""
    results = _results(series, results_name(series, config))
    last = _last(results)
    current = {file.parent for file, digest in results.items() if digest == last}
    return [model for model in series.models if not current.isdisjoint(model.results)]


def dataset_asked(series: Series, config: ReevaluationConfig) -> str | None:
    """The digest of the problems that models of the series were asked last; None: none was asked yet."""
    return _last(_results(series, results_name(series, config)))


def lacking(series: Series, config: ReevaluationConfig) -> list[Model]:
    """The models that are there and were not asked this yet, in the order of training."""
    wanted = [model for model in series.models if config.checkpoints == "all" or model.kind != "checkpoint"]
    done = evaluated(series, config)
    return [model for model in wanted if model.is_there and model not in done]


def _results(series: Series, name: str) -> dict[Path, str]:
    """The results of that name in a series, and what identifies the problems of each."""
    files = [folder / name for model in series.models for folder in model.results]
    found = {file: read_json(file) for file in files}
    return {file: str(results.get("dataset_digest", "")) for file, results in found.items() if results is not None}


def _last(results: dict[Path, str]) -> str | None:
    newest = max(results, key=lambda file: file.stat().st_mtime, default=None)
    return None if newest is None else results[newest]


def _evaluation(series: Series, config: ReevaluationConfig) -> tuple[EvaluationConfig, PromptConfig]:
    """The evaluation that is asked for, and the prompts that the models were trained on: of hub models the default."""
    own = own_settings(config)
    if series.run is None:
        return EvaluationConfig().model_copy(update=own), PromptConfig()
    return series.run.config.evaluation.model_copy(update=own), series.run.config.data
