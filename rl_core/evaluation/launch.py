"""Starts an evaluation: in this process where one is enough, on every accelerator where there are more.

The processes share the samples out between them; which of them draws a sample does not change it. As many as train
(`training.num_processes`): they have the machine one after the other.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

from rl_core.config import StageIndex, dump_config
from rl_core.file_lock import file_lock
from rl_core.manifest import read_manifest, write_text
from rl_core.rollout.choose import check_engines
from rl_core.run_dir import RunDir
from rl_core.training.launch import is_worker, num_processes, start_processes


def evaluate_stage(run: RunDir, index: StageIndex | None) -> None:
    """Evaluate the model of stage `index`, or the base model (None), on every benchmark that is not done yet.

    Raises:
        MistakeError: the model or a benchmark is not there yet, or the sampler cannot be started.
    """
    processes = num_processes(run.config)
    check_engines(run.config, int(os.environ.get("WORLD_SIZE", processes)))
    with alone_on(_results_of(run, index)):
        _evaluate_stage(run, index, processes)


def _evaluate_stage(run: RunDir, index: StageIndex | None, processes: int) -> None:
    if is_worker(processes):
        from rl_core.evaluation.runner import evaluate_model

        with one_voice():
            evaluate_model(run, index)
        return
    name = "evaluate-base" if index is None else f"evaluate-{run.stage_name(index)}"
    resolved = run.root / "logs" / f"{name}.yaml"  # of this command, overrides included
    resolved.parent.mkdir(parents=True, exist_ok=True)
    write_text(resolved, dump_config(run.config))
    stage = [] if index is None else ["--stage", str(index)]
    arguments = ["evaluate", "--config", str(resolved), "--run-dir", str(run.root), *stage]
    start_processes(arguments, f"{run.config.name}-{name}", processes)


def _results_of(run: RunDir, index: StageIndex | None) -> list[Path]:
    """What an evaluation of the model writes; nothing where there is no model yet."""
    manifest = read_manifest(run.base if index is None else run.stage(index).hf)
    if manifest is None:
        return []
    return [run.evaluation(manifest["digest"], benchmark) for benchmark in run.config.evaluation.benchmarks]


@contextmanager
def alone_on(results: Sequence[Path]) -> Iterator[None]:
    """No other process of this machine makes these results until the block ends; waits for one that does, and says so.

    A process of a launcher takes no lock: who started it has it, or else is asked not to start two.
    """
    with ExitStack() as held:
        for file in [] if "RANK" in os.environ else sorted(results):  # in one order: two never wait for each other
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = file.with_suffix(".lock")
            held.enter_context(file_lock(lock, holder="an evaluation", wanted=f"the results {file}", remove=True))
        yield


def is_first_rank() -> bool:
    """Whether this process writes and speaks for all."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def one_voice() -> Iterator[None]:
    """What the other processes would say, the first one says."""
    if is_first_rank():
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
