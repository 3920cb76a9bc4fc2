"""The results of a run as its evaluations tell them. Imports no Prefect, so that the command line may."""

from typing import Any

from rl_core.config import SFT
from rl_core.evaluation.benchmarks import benchmark_name
from rl_core.manifest import read_json
from rl_core.plan import DONE, evaluation_parts
from rl_core.run_dir import RunDir


def results_table(run: RunDir) -> list[dict[str, str]]:
    """One row for each model that has been evaluated: the base model, the fine-tuned one, then each stage's.

    Every figure is of the first benchmark, but for pass@1 of each of the further ones.
    """
    rows = []
    for index in (None, *([SFT] if run.config.sft else []), *range(len(run.config.stages))):
        part, *further = evaluation_parts(run, index)
        if part.state == DONE:
            row = _row("base" if index is None else run.stage_name(index), read_json(part.path))
            of_further = zip(run.config.evaluation.further_benchmarks, further, strict=True)
            beside = {
                f"pass@1 {benchmark_name(benchmark)}": _interval(read_json(other.path)["pass_at_1"])
                for benchmark, other in of_further
                if other.state == DONE
            }
            rows.append({**row, **beside})
    return rows


def headline(run: RunDir) -> str:
    """Pass@1 from the base model to the last stage, in one line."""
    rows = results_table(run)
    if len(rows) < 2:
        return "pass@1: not measured"
    first, last = rows[0], rows[-1]
    return f"pass@1 {first['pass@1']} ({first['model']}) -> {last['pass@1']} ({last['model']})"


def _row(model: str, results: dict[str, Any]) -> dict[str, str]:
    row = {"model": model, "pass@1": _interval(results["pass_at_1"])}
    for name, label in (("pass_at_k", "pass"), ("majority_at_k", "majority"), ("agreement_at_k", "agreement")):
        by_k = results.get(name) or {}
        if by_k:
            most = max(by_k, key=int)
            row[f"{label}@{most}"] = _interval(by_k[most])
    row["response tokens"] = f"{results['response_tokens_mean']:.1f}"
    row["truncated"] = f"{results['truncated_fraction']:.3f}"
    row["unscored"] = str(results["unscored_count"])
    return row


def _interval(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
