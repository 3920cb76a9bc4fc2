"""Starts the training of a stage: in this process where one is enough, under torchrun's agent where there are more.

Under an agent already (torchrun, Slurm with torchrun's variables) the process is a worker and goes straight to work.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from rl_core.config import RecipeConfig, StageIndex, dump_config
from rl_core.config.standalone import StandaloneConfig
from rl_core.environment import has_accelerator
from rl_core.errors import (
    EXIT_GUARD,
    EXIT_MISTAKE,
    EXIT_OUT_OF_MEMORY,
    GuardStop,
    Interrupted,
    MistakeError,
    OutOfMemory,
)
from rl_core.manifest import write_text
from rl_core.models.critic_source import require_critic
from rl_core.models.reward_source import fetched_reward_model
from rl_core.part_keys import finished_part
from rl_core.process_guard import PARENT_VARIABLE
from rl_core.rollout.choose import check_engines
from rl_core.run_dir import RunDir, StageDir
from rl_core.training.signals import SIGNAL_EXIT


def train_stage(run: RunDir, index: int) -> None:
    """Train stage `index` of the run, going on from its last checkpoint; return at once when it is done.

    Raises:
        MistakeError: what the stage starts from, or its data, is not there yet or was made with other settings; or the
            critic's own model does not fit the policy.
    """
    from rl_core.training.summary import read_summary

    if read_summary(run, index) is not None:
        print(f"stage {run.stage_name(index)}: already trained")
        return
    _require_inputs(run, index)
    processes = num_processes(run.config)
    check_engines(run.config, int(os.environ.get("WORLD_SIZE", processes)))
    if is_worker(processes):
        from rl_core.training.stage import train

        train(run, index)
    else:
        start_workers(run, ["train", "--stage", str(index)], run.stage(index), processes)


def is_worker(processes: int) -> bool:
    """Whether this process does the work itself: it is the only one, or one of those that an agent started."""
    return "RANK" in os.environ or processes == 1


def num_accelerators() -> int:
    """Accelerators on this machine; asks torch only where there is a device to ask about."""
    if not has_accelerator():
        return 0
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0


def num_processes(config: RecipeConfig | StandaloneConfig) -> int:
    """Processes on this machine, as configured or detected."""
    configured = config.training.num_processes
    return max(1, num_accelerators()) if configured == "auto" else configured


def _require_inputs(run: RunDir, index: int) -> None:
    require_policy_and_data(run, index)
    require_critic(run, index)
    if fetched_reward_model(run.config) and finished_part(run.reward_model, run.keys.reward_model()) is None:
        raise MistakeError(f"{run.reward_model} does not hold the reward model: run `python -m rl_core warm-up` first")
    if run.config.reward_model and finished_part(run.reward_model, run.keys.reward_model()) is None:
        raise MistakeError(
            f"{run.reward_model} does not hold the reward model: run `python -m rl_core reward-model` first"
        )


def require_policy_and_data(run: RunDir, index: StageIndex) -> None:
    """Raise MistakeError where the run's data, or the model that stage `index` starts from, is not there."""
    if finished_part(run.data, run.keys.data()) is None:
        raise MistakeError(f"{run.data} does not hold this recipe's data: run `python -m rl_core prepare` first")
    start, before = run.first_policy(index), run.config.stage_before(index)
    if finished_part(start, run.keys.policy(index)) is None:
        command = "warm-up" if before is None else f"convert --stage {before}"
        raise MistakeError(f"{start} does not hold the stage's first policy: run `python -m rl_core {command}` first")


def start_workers(run: RunDir, command: Sequence[str], training: StageDir, processes: int) -> None:
    """Run `python -m rl_core <command>` on so many processes of this machine, under torchrun's agent, to their end.

    Args:
        training: what the command makes; the resolved recipe is left there for the workers.
    """
    resolved = training.config_file  # of this command, overrides included
    resolved.parent.mkdir(parents=True, exist_ok=True)
    write_text(resolved, dump_config(run.config))
    name, *options = command
    arguments = [name, "--config", str(resolved), "--run-dir", str(run.root), *options]
    start_processes(arguments, f"{run.config.name}-{training.root.name}", processes)


def start_processes(arguments: Sequence[str], name: str, processes: int) -> None:
    """Run `python -m rl_core <arguments>` on so many processes of this machine, to their end.

    Args:
        name: of the work, for torchrun's agent.

    Raises:
        MistakeError, GuardStop, OutOfMemory, Interrupted: as the processes ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    if PARENT_VARIABLE in os.environ:
        os.environ[PARENT_VARIABLE] = str(os.getpid())
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=name,
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "rl_core", *arguments)
    except SignalException as stop:  # the workers have ended, their last step saved
        raise Interrupted(SIGNAL_EXIT + stop.sigval) from None
    except ChildFailedError as error:
        by_rank = {rank: failure.exitcode for rank, failure in error.failures.items()}
        codes = set(by_rank.values())
        if EXIT_MISTAKE in codes:
            raise MistakeError("a process refused its input: see its message above") from None
        if EXIT_GUARD in codes:
            raise GuardStop("a process was stopped by a guard: see its message above") from None
        if EXIT_OUT_OF_MEMORY in codes:
            raise OutOfMemory("of a process: see its message above") from None
        raise RuntimeError(f"lost {', '.join(_ended(by_rank))}") from None


def _ended(codes: Mapping[int, int]) -> list[str]:
    """How each rank ended by itself, from the exit codes, where a signal is negative; the agent ends the others."""
    by_itself = {rank: code for rank, code in codes.items() if code != -signal.SIGTERM} or codes
    return [
        f"rank {rank} ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
        for rank, code in sorted(by_itself.items())
    ]
