"""`python -m rl_core evaluate --model-dir DIR --data-name NAME`: a model that belongs to no run."""

import argparse
import tempfile
from pathlib import Path

from rl_core.cache import cache_folder
from rl_core.config.data import PromptConfig
from rl_core.config.models import PolicyConfig
from rl_core.config.standalone import StandaloneConfig, standalone_config
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmark_files import check_local
from rl_core.evaluation.benchmarks import OF_THE_RUN, benchmark_name, check_benchmark
from rl_core.evaluation.command_line import DATA, DEFAULT_OUTPUT, MODEL, OF_THE_PROTOCOL
from rl_core.evaluation.launch import alone_on, is_first_rank, one_voice
from rl_core.evaluation.problems import PROBLEMS, take_benchmark
from rl_core.evaluation.prompts import from_elsewhere, trained_prompt
from rl_core.evaluation.table import print_figures
from rl_core.manifest import digest_of, publishing, read_json, read_manifest, sampled_digest
from rl_core.models.source import ModelFolder, find_model
from rl_core.run_dir import evaluation_name
from rl_core.training.launch import is_worker, num_processes, start_processes


def evaluate_folder(options: argparse.Namespace) -> Path:
    """Evaluate the model that the command line names, on every accelerator; print the figures; the path of the results.

    Raises:
        MistakeError: something that was asked for is not there, or cannot be.
        ConnectionError: a hub did not answer; trying again may help.
    """
    config = _settings(options)
    evaluation, name = config.evaluation, benchmark_name(config.evaluation.benchmark)
    if evaluation.benchmark in OF_THE_RUN:
        raise MistakeError(
            f"{DATA} is {evaluation.benchmark!r}, which is data of a run, and none is named: give the file "
            f"(runs/<name>/data/{evaluation.benchmark}.parquet), or a benchmark by name"
        )
    check_local(evaluation.benchmark, evaluation.benchmark_folder, DATA)
    folder = _model(config.policy)
    prompt = config.data or trained_prompt(folder) or PromptConfig()
    manifest = read_manifest(folder)
    digest = sampled_digest(folder) if manifest is None else str(manifest["digest"])
    identity = evaluation.protocol.identity(prompt)
    result = (options.output or DEFAULT_OUTPUT) / digest / evaluation_name(name, identity)
    processes = num_processes(config)
    with alone_on([result]):
        if is_worker(processes):
            _evaluate(config, folder, digest, prompt, result)
        else:
            start_processes(options.arguments, f"evaluate-{name}", processes)
    return result


def _evaluate(config: StandaloneConfig, folder: Path, digest: str, prompt: PromptConfig, result: Path) -> None:
    """The part of this process; the first one prints the figures."""
    from rl_core.evaluation.runner import EvaluatedModel, Settings, Work, dataset_facts, evaluate

    evaluation, name = config.evaluation, benchmark_name(config.evaluation.benchmark)
    told = None if from_elsewhere(folder) else config.data  # a run's recipe says nothing of a base that it took
    with one_voice(), tempfile.TemporaryDirectory() as temporary:
        problems = Path(temporary) / "benchmark"
        take_benchmark(evaluation.benchmark, evaluation.benchmark_folder, prompt, problems, key="", field=DATA)
        facts = dataset_facts(read_manifest(problems) or {})
        evaluate(
            EvaluatedModel(folder, config.policy.model_name, digest, told or trained_prompt(folder)),
            [Work(name, problems / PROBLEMS, facts, result)],
            Settings(config.policy, config.rollout, evaluation, prompt),
        )
        if is_first_rank():
            print_figures(read_json(result))
            print(f"results: {result}")


def _settings(options: argparse.Namespace) -> StandaloneConfig:
    for name, value in ((MODEL, options.model_dir), (DATA, options.data_name)):
        if value is None:
            raise MistakeError(f"{name} is needed: {MODEL} and {DATA} go together, for a model that is not of a run")
    for name, value in (("--stage", options.stage), ("--run-dir", options.run_dir)):
        if value is not None:
            raise MistakeError(f"{name} is for a model of a run, and {MODEL} for one of none: leave one of them out")
    try:
        check_benchmark(options.data_name, DATA)
    except ValueError as problem:
        raise MistakeError(str(problem)) from None
    given = {setting: getattr(options, name) for name, setting in OF_THE_PROTOCOL.items()}
    protocol = {setting: value for setting, value in given.items() if value is not None}
    return standalone_config(options.model_dir, options.data_name, protocol, options.config, options.overrides)


def _model(policy: PolicyConfig) -> Path:
    """The folder of the model, fetched where it is on a hub."""
    source = find_model(policy, MODEL)
    if isinstance(source, ModelFolder):
        source.check()
        return source.folder
    key = digest_of([policy.hub, policy.model_name, source.commit])
    folder = cache_folder("models") / key
    if read_manifest(folder) is None:
        with publishing(folder, key=key, source=policy.model_name) as partial:
            source.take_description(partial)
            source.take_weights(partial)
    return folder
