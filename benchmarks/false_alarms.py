"""How often noise alone raises an alarm: `python -m benchmarks.false_alarms [--groups 10]`.

One real model, the embedded recipe's base model, is evaluated under many seeds, as any model of a run is. Groups of
evaluations are then judged as a leaderboard judges checkpoints: one stands for the base model, and twenty for what came
of it. None of them is worse than another, so that every alarm is false. The figures of docs/reevaluation.md.
"""

import json
import random
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from statistics import mean

from rich.progress import track

from benchmarks.circumstances import circumstances
from benchmarks.outcome import arguments, print_table, write_outcome
from benchmarks.stages import evaluation_file, run_stage
from rl_core.config import load_config
from rl_core.config.reevaluation import AlarmConfig
from rl_core.leaderboard.board import Row, compared, judged
from rl_core.leaderboard.measured import Measured, read_measured
from rl_core.leaderboard.models import Model, Series

PROBLEMS, SAMPLES = 64, 8
SEEDS = 20  # of a group, beside the evaluation that stands for the base model
DEALS = 20  # of the same evaluations into other groups
RATE = AlarmConfig().max_false_alarm_rate
WAYS = ALL_AT_ONCE, ONE_BY_ONE = "twenty at once", "one by one"
MADE_ONCE = ("download", "prepare", "warm-up")


def main() -> None:
    """Evaluate, judge, print and keep how often an alarm was raised."""
    parser = arguments("false_alarms", __doc__)
    parser.add_argument("--groups", type=int, default=10, help=f"of {SEEDS + 1} evaluations each")
    parser.add_argument("--deals", type=int, default=DEALS, help="of the same evaluations into other groups")
    options = parser.parse_args()
    taken_under = circumstances()
    with tempfile.TemporaryDirectory(prefix="false-alarms-") as folder:
        evaluations = evaluate_under_seeds(Path(folder), options.groups * (SEEDS + 1))
    draw = random.Random(0)
    dealt = [passes(draw.sample(evaluations, len(evaluations))) for _ in track(range(options.deals), "dealt again")]
    again = {way: [raised for deal in dealt for raised in deal[way]] for way in WAYS}
    rows = [*_rows("as drawn", passes(evaluations)), *_rows("dealt again", again)]
    scores = [evaluation.pass_at_1.value for evaluation in evaluations]
    print_table(f"alarms where nothing changed, at a bound of {RATE}", rows)
    print(f"pass@1 from {min(scores):.3f} to {max(scores):.3f}, {mean(scores):.3f} on average")
    facts = {"rate": RATE, "problems": PROBLEMS, "samples": SAMPLES, "evaluations": len(evaluations)}
    write_outcome(options.json, {**facts, "pass_at_1": scores, "rows": rows}, taken_under)


def evaluate_under_seeds(root: Path, num_seeds: int) -> list[Measured]:
    """The base model's evaluations under seeds 0, 1, ..., as those of models of one series."""
    from rl_core.evaluation.runner import evaluate_model
    from rl_core.run_dir import RunDir

    for stage in MADE_ONCE:
        run_stage(stage, ["--run-dir", root, *_overrides(0)])
    for seed in track(range(num_seeds), "evaluations"):
        with redirect_stdout(StringIO()):
            evaluate_model(RunDir(root, load_config(None, _overrides(seed))), None)
    found = _measured(root)
    assert sorted(each.protocol["seed"] for each in found) == list(range(num_seeds))
    return [replace(each, protocol={**each.protocol, "seed": None}) for each in found]  # asked the same, but for it


def passes(evaluations: Sequence[Measured]) -> dict[str, list[bool]]:
    """Judge the evaluations in groups, in the order in which they come: which passes raised an alarm, by their kind."""
    groups = [_group(evaluations[at : at + SEEDS + 1]) for at in range(0, len(evaluations), SEEDS + 1)]
    return {
        ALL_AT_ONCE: [_raises(rows) for rows in groups],
        ONE_BY_ONE: [_raises([row]) for rows in groups for row in rows[1:]],
    }


def _group(evaluations: Sequence[Measured]) -> list[Row]:
    """One as the base model's, the others as those of checkpoints after it, each compared as on a leaderboard."""
    return compared(
        replace(
            each,
            model=replace(each.model, kind="checkpoint" if at else "base", step=at, position=at),
            model_digest=str(at),
        )
        for at, each in enumerate(evaluations)
    )


def _raises(rows: Sequence[Row]) -> bool:
    verdicts = judged(rows, {}, ask=lambda _: True, rate=RATE, now=datetime.now(UTC))
    return any(row.verdict is not None and row.verdict.is_regression for row in verdicts)


def _measured(root: Path) -> list[Measured]:
    folder = evaluation_file(root, load_config(None, _overrides(0)), None).parent
    model = Model("base", "base", 0, 0, None, folder, (folder,))
    left_out: list[str] = []
    found = list(read_measured(Series(root.name, root, (model,)), left_out))
    assert not left_out, left_out
    return found


def _overrides(seed: int) -> list[str]:
    settings = {
        "embedded.test_problems": PROBLEMS,
        "evaluation.protocol.num_samples": SAMPLES,
        "evaluation.protocol.seed": seed,
        "tracking.wandb": "disabled",
    }
    return [f"{name}={json.dumps(value)}" for name, value in settings.items()]


def _rows(name: str, found: dict[str, list[bool]]) -> list[dict[str, object]]:
    return [
        {"evaluations": name, "judged": way, "passes": len(raised), "alarms": sum(raised), "share": mean(raised)}
        for way, raised in found.items()
    ]


if __name__ == "__main__":
    main()
