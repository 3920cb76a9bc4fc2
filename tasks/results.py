"""The results of a run as its evaluations tell them. Imports no Prefect, so that the command line may."""

from typing import Any

from rl_core.config import SFT
from rl_core.evaluation.benchmarks import benchmark_name
from rl_core.manifest import read_json
from rl_core.plan import DONE, evaluation_parts
from rl_core.run_dir import RunDir


def results_table(run: RunDir) -> list[dict[str, str]]:
    """One row for each model that has been evaluated: the base model, the fine-tuned one, then each stage's.

    Lengths and counts are of the first benchmark; what is right, of each of them.
    """
    rows = []
    for index in (None, *([SFT] if run.config.sft else []), *range(len(run.config.stages))):
        part, *further = evaluation_parts(run, index)
        if part.state == DONE:
            row = _row("base" if index is None else run.stage_name(index), read_json(part.path))
            for benchmark, other in zip(run.config.evaluation.further_benchmarks, further, strict=True):
                if other.state == DONE:
                    of_other = _what_is_right(read_json(other.path))
                    row |= {f"{name} {benchmark_name(benchmark)}": value for name, value in of_other.items()}
            rows.append(row)
    return rows


def headline(run: RunDir) -> str:
    """Pass@1 from the base model to the last stage, in one line."""
    rows = results_table(run)
    if len(rows) < 2:
        return "pass@1: not measured"
    first, last = rows[0], rows[-1]
    return f"pass@1 {first['pass@1']} ({first['model']}) -> {last['pass@1']} ({last['model']})"


def _row(model: str, results: dict[str, Any]) -> dict[str, str]:
    row = {"model": model, **_what_is_right(results)}
    row["response tokens"] = f"{results['response_tokens_mean']:.1f}"
    row["truncated"] = f"{results['truncated_fraction']:.3f}"
    row["unscored"] = str(results["unscored_count"])
    return row


def _what_is_right(results: dict[str, Any]) -> dict[str, str]:
    row = {"pass@1": _interval(results["pass_at_1"])}
    for name, label in (("pass_at_k", "pass"), ("majority_at_k", "majority"), ("agreement_at_k", "agreement")):
        by_k = results.get(name) or {}
        if by_k:
            most = max(by_k, key=int)
            row[f"{label}@{most}"] = _interval(by_k[most])
    return row


def _interval(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
