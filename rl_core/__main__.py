"""`python -m rl_core <stage> --config FILE`: one stage of a run, by hand, under Slurm or from a task.

Reads the configuration before anything heavy is imported, so that a mistake is told in a second.
"""

import argparse
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rl_core import commands
from rl_core.command_line import parse, refuse_idle_options
from rl_core.config import SFT, load_config
from rl_core.devices import ON_DEVICES, devices_of
from rl_core.environment import prepare_environment
from rl_core.errors import (
    EXIT_GUARD,
    EXIT_INTERRUPTED,
    EXIT_MISTAKE,
    EXIT_OUT_OF_MEMORY,
    GuardStop,
    Interrupted,
    MistakeError,
)
from rl_core.out_of_memory import is_out_of_memory
from rl_core.process_guard import guard_process
from rl_core.run_dir import RunDir
from rl_core.stacks import answer_with_stacks
from rl_core.work import recorded


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; the exit code is that of `rl_core.errors`."""
    options = parse(sys.argv[1:] if arguments is None else arguments, (__doc__ or "").partition("\n")[0])
    guard_process()
    answer_with_stacks()
    prepare_environment()
    # torch's collectives and checkpoints warn of their own older names, and of being used without other ranks.
    warnings.filterwarnings("ignore", module=r"torch\.distributed")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"vllm\.")
    try:
        refuse_idle_options(options)
        with _devices(options):
            if options.do_alone:
                options.do_alone(options)
            else:
                _run_stage(_opened_run(options), options)
    except MistakeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return EXIT_MISTAKE
    except GuardStop as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return EXIT_GUARD
    except Interrupted as interruption:
        return interruption.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.print_exc()
        print(f"out of memory: {error}", file=sys.stderr)
        return EXIT_OUT_OF_MEMORY
    return 0


def _devices(options: argparse.Namespace) -> AbstractContextManager[None]:
    """The machine's devices for this stage alone, where it computes on them."""
    name = getattr(options, "stage_name", None)
    return devices_of(f"{name} in {options.run_dir or Path.cwd()}") if name in ON_DEVICES else nullcontext()


def _opened_run(options: argparse.Namespace) -> RunDir:
    config = load_config(options.config, options.overrides)
    if options.stage == SFT and config.sft is None:
        raise MistakeError("--stage sft: the recipe has no section `sft`")
    if options.stage not in (None, SFT) and not 0 <= options.stage < len(config.stages):
        raise MistakeError(f"--stage {options.stage}: the recipe has {len(config.stages)} stages, counted from 0")
    return RunDir(options.run_dir or Path("runs") / config.name, config)


def _run_stage(run: RunDir, options: argparse.Namespace) -> None:
    part = commands.PARTS.get(options.stage_name)
    of_no_part = any(getattr(options, name, None) is not None for name in ("dcp_ckpt_path", "step"))
    if part is None or of_no_part:
        options.do(run, options)
        return
    stage = "base" if options.stage is None else run.stage_name(options.stage)
    with recorded(run.work, part.format(stage=stage)):
        options.do(run, options)


if __name__ == "__main__":
    sys.exit(main())
