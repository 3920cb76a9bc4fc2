"""The figures of an evaluation as a table on a terminal."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 120  # of a table that goes to a file or a pipe
BY_K = (("pass_at_k", "pass"), ("majority_at_k", "majority"), ("agreement_at_k", "agreement"))
RESPONSES = (
    ("truncated_fraction", "cut off by the limit"),
    ("no_answer_fraction", "without an answer"),
    ("unscored_fraction", "unscored"),
)


def print_figures(results: Mapping[str, Any]) -> None:
    """Every figure with its 95 % interval."""
    protocol = results["protocol"]
    name = results.get("protocol_name")
    print(
        f"{results['model']} on {results['benchmark']}: {results['num_problems']} problems, "
        f"{protocol['num_samples']} responses to each{f', protocol {name}' if name else ''}"
    )
    table = Table("", "value", "95 % from", "to")
    for row in figure_rows(results):
        table.add_row(*row)
    (Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH, no_color=True)).print(table)


def figure_rows(results: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Name, value and both ends of the interval of each figure, as text."""
    rows = [_share("pass@1", results["pass_at_1"])]
    for key, label in BY_K:
        by_k = {int(k): value for k, value in results[key].items()}
        most = max(by_k)
        if most > 1:
            rows.append(_share(f"{label}@{most}", by_k[most]))
    intervals = results["intervals"]
    tokens = intervals["response_tokens_mean"]
    rows.append(("response tokens, mean", _number(tokens["value"]), _number(tokens["low"]), _number(tokens["high"])))
    rows += [_share(label, intervals[key]) for key, label in RESPONSES]
    second = results.get("second_verifier")
    if second:
        rows.append(_share(f"pass@1 by {second['verifier']}", second["pass_at_1"]))
        rows.append(("verifiers disagree on", f"{second['num_disagreements']:,} responses", "", ""))
    return rows


def _share(label: str, value: Mapping[str, float | None]) -> tuple[str, str, str, str]:
    return label, _percent(value["value"]), _percent(value["low"]), _percent(value["high"])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
