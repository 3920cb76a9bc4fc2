"""Where a step's time goes, by part, at each context stage: `python -m benchmarks.step_parts [--run-dir DIR]`.

From the metrics of a run; without `--run-dir`, of a short run of the embedded recipe that is made for it. Every figure
is the mean over a stage's steps, the first left out. Parts that are not due at every step (save, measure) count by how
often they are.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.circumstances import circumstances
from benchmarks.outcome import Spread, arguments, print_table, write_outcome
from rl_core.config import dump_config, load_config
from rl_core.run_dir import RunDir

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = ("generate", "score", "logprob", "train", "sync", "save", "measure")


def main() -> None:
    """Print and keep the parts of each stage."""
    options = _options()
    taken_under = circumstances()
    if options.run_dir:
        rows = stage_rows(options.run_dir)
    else:
        with tempfile.TemporaryDirectory(prefix="step-parts-") as folder:
            _make_run(Path(folder), options.steps, options.overrides)
            rows = stage_rows(Path(folder))
    print_table("Seconds of a step, by part", rows)
    print_table("Share of a step, %", [_shares(row) for row in rows])
    write_outcome(options.json, {"rows": rows}, taken_under)


def stage_rows(root: Path) -> list[dict[str, object]]:
    """One row for each stage that has metrics."""
    run = RunDir(root, load_config(root / "config.yaml", []))
    files = [(stage, run.stage(index).metrics) for index, stage in enumerate(run.config.stages)]
    return [
        {"stage": stage.name, "limit": stage.max_response_tokens, **parts(_steps(file))}
        for stage, file in files
        if file.exists()
    ]


def parts(steps: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Mean seconds of a step and of each part, `rest` what no part accounts for."""
    by_part = {part: mean(step[f"{part}_seconds"] for step in steps) for part in PARTS}
    whole = mean(step["step_seconds"] for step in steps)
    return {
        "steps": len(steps),
        "step": Spread.of([step["step_seconds"] for step in steps]),
        "mean": whole,
        **by_part,
        "rest": whole - sum(by_part.values()),
        "tokens/s": mean(step["tokens_per_second"] for step in steps),
    }


def _steps(metrics: Path) -> list[dict[str, Any]]:
    """Of all steps but the first."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["step"] > 1]


def _shares(row: Mapping[str, Any]) -> dict[str, object]:
    shares = {part: 100 * row[part] / row["mean"] for part in (*PARTS, "rest")}
    return {"stage": row["stage"], **shares}


def _make_run(root: Path, steps: int, overrides: Sequence[str]) -> None:
    """The embedded recipe up to its last stage's training."""
    recipe = [*(f"stages.{index}.steps={steps}" for index in range(3)), *overrides]
    config = load_config(None, recipe)
    root.joinpath("config.yaml").write_text(dump_config(config), encoding="utf-8")
    commands = ["download", "prepare", "warm-up"]
    for index in range(len(config.stages)):
        commands += [f"train --stage {index}", f"convert --stage {index}"]
    for command in commands[:-1]:
        words = [sys.executable, "-m", "rl_core", *command.split(), "--run-dir", str(root), *recipe]
        subprocess.run(words, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def _options() -> argparse.Namespace:
    parser = arguments("step_parts", __doc__)
    parser.add_argument("--run-dir", type=Path, help="a run that was trained; without it a short one is made")
    parser.add_argument("--steps", type=int, default=20, help="of each stage of the short run (default 20)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the short run")
    options = parser.parse_args()
    if options.run_dir and options.overrides:
        parser.error("key=value does nothing with --run-dir")
    return options


if __name__ == "__main__":
    main()
