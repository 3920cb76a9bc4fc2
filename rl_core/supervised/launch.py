"""Starts the stage `sft`: in this process where one is enough, under torchrun's agent where there are more."""

from rl_core.config import SFT
from rl_core.errors import MistakeError
from rl_core.run_dir import RunDir
from rl_core.training.launch import is_worker, num_processes, require_policy_and_data, start_workers


def fine_tune(run: RunDir) -> None:
    """Fine-tune the base model, going on from the last checkpoint; return at once when it is done.

    Raises:
        MistakeError: the recipe has no `sft`, or the base model or the data is not there yet.
    """
    from rl_core.training.summary import read_summary

    if run.config.sft is None:
        raise MistakeError("sft: the recipe has no such section")
    if read_summary(run, SFT) is not None:
        print("sft: already trained")
        return
    require_policy_and_data(run, SFT)
    processes = num_processes(run.config)
    if is_worker(processes):
        from rl_core.supervised.stage import train

        train(run)
    else:
        start_workers(run, ["sft"], run.stage(SFT), processes)
