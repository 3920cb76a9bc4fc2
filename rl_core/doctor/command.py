"""The command: every check in turn, as a table or as JSON, and an exit code.

Quick: nothing is downloaded, and torch is asked, in a process of its own, only where there is an accelerator.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rl_core.config import load_config
from rl_core.doctor.credentials import credentials
from rl_core.doctor.devices import devices
from rl_core.doctor.disk import disk
from rl_core.doctor.finding import Finding, Status
from rl_core.doctor.inputs import inputs
from rl_core.doctor.machine import machine
from rl_core.doctor.packages import packages
from rl_core.errors import MistakeError
from rl_core.opening import default_run_dir
from rl_core.run_dir import RunDir

PLAIN_WIDTH = 160  # of a table that goes to a file or a pipe
COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.STOP: "bold red"}


def doctor(options: argparse.Namespace) -> None:
    """Print what was found.

    Raises:
        MistakeError: something would stop a run of the recipe here.
    """
    config = load_config(options.config, options.overrides)
    run = RunDir((options.run_dir or default_run_dir(config)).resolve(), config)
    found = list(findings(run))
    if options.json:
        print(json.dumps({"recipe": config.name, "findings": [each.as_json() for each in found]}, indent=2))
    else:
        _print(run, found)
    stops = [each.check for each in found if each.status is Status.STOP]
    if stops:
        raise MistakeError(f"these would stop a run of {config.name} here, see what to do above: {', '.join(stops)}")


def findings(run: RunDir) -> Iterator[Finding]:
    """Every check, in the order of what they cost."""
    yield from machine()
    yield from packages(run.config)
    yield from devices(run.config)
    looked_at = inputs(run)
    yield from looked_at.findings
    yield from disk(run, looked_at.model_bytes)
    yield from credentials(run.config)


def _print(run: RunDir, found: list[Finding]) -> None:
    terminal = sys.stdout.isatty()
    output = Console() if terminal else Console(width=PLAIN_WIDTH, no_color=True)
    table = Table("", "check", "found", "what to do", title=f"A run of {run.config.name} here", title_justify="left")
    for each in found:
        status = f"[{COLOURS[each.status]}]{each.status}[/]"
        table.add_row(status, escape(each.check), escape(each.found), escape(each.do))
    output.print(table)
    output.print(f"run directory: {_short(run.root)}", highlight=False)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
