"""The command line of the recipe: reads it, checks everything a person can get wrong, then runs the flow.

Prefect is imported only when there is something to run; torch never.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.plan_table import print_plan
from flows.rehearsal_table import print_rehearsal
from flows.server import ServerFailed, ensure_server, exit_on_sigterm, interface_address
from flows.settings import apply_prefect_settings
from rl_core.config import RecipeConfig, load_config
from rl_core.config.rehearsal import rehearse, split_overrides
from rl_core.errors import EXIT_GUARD, EXIT_INTERRUPTED, EXIT_MISTAKE, GuardStop, Interrupted, MistakeError
from rl_core.opening import default_run_dir, open_run, refuse_other_recipe
from rl_core.preflight import check_inputs, check_text
from rl_core.run_dir import RunDir
from tasks.failures import StageFailed
from tasks.results import headline

MODULE = "flows.deepscaler_recipe"
EXIT_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is that of `rl_core.errors`, or 1 for a stage that kept failing."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_intermixed_args(arguments)
    exit_on_sigterm()
    try:
        config = _rehearsal(options) if options.rehearse else load_config(options.config, options.overrides)
        run = RunDir((options.run_dir or default_run_dir(config)).resolve(), config)
        if options.plan:
            print_plan(run)
            refuse_other_recipe(run)
            check_inputs(run)
        else:
            _run(run)
    except MistakeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return EXIT_MISTAKE
    except GuardStop as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return EXIT_GUARD
    except (StageFailed, ServerFailed) as failure:
        print(f"failed: {failure}\n{_continue_with(arguments)}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, SystemExit, Interrupted) as interruption:
        print(f"\ninterrupted; {_continue_with(arguments)}", file=sys.stderr)
        return _exit_code(interruption)
    return 0


def _rehearsal(options: argparse.Namespace) -> RecipeConfig:
    """The recipe at toy size; says what was scaled and what was kept."""
    overrides, own = split_overrides(options.overrides)
    recipe = load_config(options.config, overrides)
    check_text(recipe)
    rehearsal = rehearse(recipe, overrides, own)
    print_rehearsal(rehearsal)
    return rehearsal.config


def _run(run: RunDir) -> None:
    check_inputs(run)
    with open_run(run.config, run.root):  # what the flow would refuse is refused before a server is waited for
        pass
    apply_prefect_settings()
    api = ensure_server(run.root / "logs" / "prefect-server.log")
    print(f"run: {run.root}\nPrefect: {interface_address(api)}", flush=True)
    report = _flow(run.config, run.root)
    print(f"\n{headline(run)}\nreport: {report}")


def _flow(config: RecipeConfig, run_dir: Path) -> Path:
    from flows.deepscaler_recipe import deepscaler_recipe

    return deepscaler_recipe(config, run_dir)


def _continue_with(arguments: Sequence[str]) -> str:
    python = Path(sys.executable)
    here = Path.cwd()
    shown = os.fspath(python.relative_to(here) if python.is_relative_to(here) else python)
    return f"continue with: {shlex.join([shown, '-m', MODULE, *arguments])}"


def _exit_code(interruption: BaseException) -> int:
    if isinstance(interruption, Interrupted):
        return interruption.exit_code
    if isinstance(interruption, SystemExit) and isinstance(interruption.code, int):
        return interruption.code
    return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description="Run the recipe: data, base model, every stage, the evaluation of each, the report. "
        "Started again after whatever ended it, the same command goes on from there.",
    )
    parser.add_argument("--config", type=Path, help="the recipe (default: the embedded one, for a CPU)")
    parser.add_argument("--run-dir", type=Path, help="where the run is kept (default: runs/<name of the recipe>)")
    parser.add_argument("--plan", action="store_true", help="show what would run and what is done already, and stop")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="run this recipe at toy size, on the CPU in minutes; rehearsal.key=value changes the toy size itself",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example stages.0.steps=100")
    return parser
