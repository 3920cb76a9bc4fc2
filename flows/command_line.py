"""The command line of the recipe: reads it, checks everything a person can get wrong, then runs the flow.

Prefect is imported only when there is something to run; torch never.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.ending import exit_code_of
from flows.plan_table import print_plan
from flows.rehearsal_table import print_rehearsal
from flows.server import ensure_server, exit_on_sigterm, interface_address
from flows.settings import apply_prefect_settings
from rl_core.config import RecipeConfig, load_config
from rl_core.config.rehearsal import rehearse, split_overrides
from rl_core.opening import default_run_dir, open_run, refuse_other_recipe
from rl_core.preflight import check_inputs, check_text
from rl_core.run_dir import RunDir
from tasks.results import headline

MODULE = "flows.deepscaler_recipe"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; for the exit code see `ending`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_intermixed_args(arguments)
    exit_on_sigterm()
    return exit_code_of(lambda: _do(options), MODULE, arguments)


def _do(options: argparse.Namespace) -> None:
    config = _rehearsal(options) if options.rehearse else load_config(options.config, options.overrides)
    run = RunDir((options.run_dir or default_run_dir(config)).resolve(), config)
    if options.plan:
        print_plan(run)
        refuse_other_recipe(run)
        check_inputs(run)
    else:
        _run(run)


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
