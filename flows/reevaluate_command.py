"""The command line of a re-evaluation: reads it, checks what a person can get wrong, then runs the flow.

Prefect is imported only when there is something to run; torch never.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from flows.ending import exit_code_of
from flows.plan_table import console
from flows.server import ensure_server, exit_on_sigterm, interface_address
from flows.settings import apply_prefect_settings
from rl_core.config import ReevaluationConfig, load_reevaluation
from rl_core.leaderboard.asked import evaluated, lacking
from rl_core.leaderboard.passes import all_series, is_unnamed, open_pass

MODULE = "flows.reevaluate"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; for the exit code see `ending`: 3 where a model became worse and `alarm.fail` asks for it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_intermixed_args(arguments)
    exit_on_sigterm()
    return exit_code_of(lambda: _do(options), MODULE, arguments)


def _do(options: argparse.Namespace) -> None:
    asked = [*options.overrides, *(["alarm.fail=true"] if options.fail_on_regression else [])]
    config = load_reevaluation(options.config, asked)
    if options.plan:
        _print_plan(config, options.runs)
        return
    # What the flow would refuse is refused before a server is waited for.
    with open_pass(config, options.runs) as files:
        server_log = files.logs / "prefect-server.log"
    apply_prefect_settings()
    api = ensure_server(server_log)
    print(f"runs: {files.runs}\nPrefect: {interface_address(api)}", flush=True)
    print(f"\nleaderboard: {_flow(config, options.runs)}")


def _flow(config: ReevaluationConfig, runs: Path | None) -> Path:
    from flows.reevaluate import reevaluate

    return reevaluate(config, runs)


def _print_plan(config: ReevaluationConfig, runs: Path | None) -> None:
    """Every model that is known, and whether it is to be asked; hubs are not looked at."""
    folder = (runs or config.runs).resolve()
    if is_unnamed(config, runs) and not folder.is_dir():
        print(f"nothing to evaluate yet: {folder} is not there")
        return
    series, left_out = all_series(folder, config)
    table = Table("series", "model", "step", "status", title=config.title, title_justify="left")
    for each in series:
        to_ask, asked = lacking(each, config), evaluated(each, config)
        for model in each.models:
            done = "done" if model in asked else "left out"
            table.add_row(each.name, model.name, str(model.position), "to do" if model in to_ask else done)
    output = console()
    output.print(table)
    for sentence in left_out:
        output.print(f"left out: {sentence}", highlight=False, markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description="Evaluate every checkpoint under a folder of runs that was not evaluated yet, compare, and write "
        "the leaderboard. Started again after whatever ended it, the same command goes on from there.",
    )
    parser.add_argument("--config", type=Path, help="the settings (default: configs/reevaluation/default.yaml)")
    parser.add_argument("--runs", type=Path, help="the folder of runs, or one run's (default: that of the settings)")
    parser.add_argument("--fail-on-regression", action="store_true", help="exit code 3 where one became worse")
    parser.add_argument("--plan", action="store_true", help="show what is to be evaluated, and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example protocol.num_samples=64")
    return parser
