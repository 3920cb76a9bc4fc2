"""leaderboard.parquet: one row for each evaluation, and the verdicts, which are said once and kept here.

Everything else in it follows from the evaluations. Where the file is removed, all models are judged again in one pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rl_core.errors import MistakeError
from rl_core.evaluation.comparison import Comparison
from rl_core.leaderboard.board import Key, Row, Verdict

INTERVAL = ("low", "high")
TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("series", pa.string()),  # name of the run, or of the repository on the hub
        ("model", pa.string()),  # within its series: "base", "8k", "8k step 20", a revision
        ("kind", pa.string()),  # base, stage, checkpoint, hub
        ("stage", pa.string()),
        ("step", pa.int64()),  # of its stage
        ("position", pa.int64()),  # steps of training since the base model
        ("model_digest", pa.string()),
        ("benchmark", pa.string()),
        ("dataset_digest", pa.string()),
        ("protocol_digest", pa.string()),
        ("num_problems", pa.int64()),
        ("num_samples", pa.int64()),
        ("pass_at_1", pa.float64()),
        ("pass_at_1_low", pa.float64()),
        ("pass_at_1_high", pa.float64()),
        ("control", pa.string()),
        ("to_control", pa.float64()),
        ("to_control_low", pa.float64()),
        ("to_control_high", pa.float64()),
        ("best_earlier", pa.string()),
        ("to_best_earlier", pa.float64()),
        ("to_best_earlier_low", pa.float64()),
        ("to_best_earlier_high", pa.float64()),
        ("response_tokens_mean", pa.float64()),
        ("truncated_fraction", pa.float64()),
        ("no_answer_fraction", pa.float64()),
        ("unscored_count", pa.int64()),
        ("evaluated_at", TIME),
        ("file", pa.string()),  # below the folder of runs
        # The verdict; null where none was said.
        ("judged_at", TIME),
        ("num_judged", pa.int64()),
        ("false_alarm_rate", pa.float64()),
        ("p_value", pa.float64()),
        ("adjusted_p_value", pa.float64()),
        ("regression", pa.bool_()),
        ("worse_than", pa.string()),  # as it was called then
        ("worse_than_digest", pa.string()),
        ("difference", pa.float64()),  # to that model, when the verdict was said
        ("difference_low", pa.float64()),
        ("difference_high", pa.float64()),
    ]
)
KEY = ("series", "model_digest", "benchmark", "dataset_digest", "protocol_digest")
VERDICT = tuple(field.name for field in fields(Verdict))


def write_table(file: Path, rows: Sequence[Row], runs: Path) -> None:
    """Write the table whole, in the place of the one before."""
    temporary = file.with_name(file.name + ".partial")
    pq.write_table(pa.Table.from_pylist([_record(row, runs) for row in rows], schema=SCHEMA), temporary)
    temporary.replace(file)


def read_verdicts(file: Path) -> dict[Key, Verdict]:
    """What earlier passes said; nothing where there is no table yet.

    Raises:
        MistakeError: the file is no leaderboard.
    """
    if not file.is_file():
        return {}
    try:
        records = pq.read_table(file, columns=[*KEY, *VERDICT]).to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MistakeError(
            f"{file}: cannot be read as a leaderboard ({reason}); move it away, and all models are judged again"
        ) from None
    judged = [record for record in records if record["judged_at"] is not None]
    return {
        (
            record["series"],
            record["model_digest"],
            record["benchmark"],
            record["dataset_digest"],
            record["protocol_digest"],
        ): (Verdict(**{name: record[name] for name in VERDICT}))
        for record in judged
    }


def _record(row: Row, runs: Path) -> dict[str, Any]:
    measured, model, verdict = row.measured, row.measured.model, row.verdict
    return {
        "series": measured.series,
        "model": model.name,
        "kind": model.kind,
        "stage": model.stage,
        "step": model.step,
        "position": model.position,
        "model_digest": measured.model_digest,
        "benchmark": measured.benchmark,
        "dataset_digest": measured.dataset_digest,
        "protocol_digest": measured.protocol_digest,
        "num_problems": measured.num_problems,
        "num_samples": measured.protocol.get("num_samples"),
        **_values("pass_at_1", measured.pass_at_1.value, measured.pass_at_1),
        "control": row.control and row.control.model.name,
        **_difference("to_control", row.to_control),
        "best_earlier": row.best_earlier and row.best_earlier.model.name,
        **_difference("to_best_earlier", row.to_best_earlier),
        "response_tokens_mean": measured.response_tokens_mean,
        "truncated_fraction": measured.truncated_fraction,
        "no_answer_fraction": measured.no_answer_fraction,
        "unscored_count": measured.unscored_count,
        "evaluated_at": measured.evaluated_at,
        "file": str(measured.file.relative_to(runs)),
        **({name: getattr(verdict, name) for name in VERDICT} if verdict else {}),
        "regression": verdict.is_regression if verdict else None,
    }


def _difference(name: str, difference: Comparison | None) -> Mapping[str, float]:
    return _values(name, difference.difference, difference) if difference else {}


def _values(name: str, value: float, interval: Any) -> dict[str, float]:
    return {name: value, **{f"{name}_{end}": getattr(interval, end) for end in INTERVAL}}
