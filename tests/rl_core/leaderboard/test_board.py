"""Verdicts: what is compared with what, once, and how often noise alone raises an alarm."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from rl_core.leaderboard.board import Row, Verdict, compared, judged
from rl_core.leaderboard.measured import Measured
from rl_core.leaderboard.models import Model
from rl_core.report.facts import Interval

NOW = datetime(2026, 11, 26, tzinfo=UTC)
SAMPLES = 8
RATE = 0.05
SEEDS = 20
SIMULATIONS = 120


def measured(position: int, right: Sequence[int], *, kind: str = "checkpoint", dataset: str = "d") -> Measured:
    """A model of a series `s` that solved problem p right[p] times of eight."""
    model = Model("base" if kind == "base" else "checkpoint", kind, position, position, None, Path("evaluations"), ())
    rows = [
        {"index": index, "problem": str(index), "num_correct": count, "num_scored": SAMPLES}
        for index, count in enumerate(right)
    ]
    value = sum(right) / len(right) / SAMPLES
    return Measured(
        "s", model, Path(f"{position}.json"), f"m{position}", "test", dataset, {"seed": 0}, NOW, len(right),
        Interval(value, value, value), 1.0, 0.0, 0.0, 0, rows,
    )  # fmt: skip


def verdicts(rows: list[Row], known: dict[tuple[str, ...], Verdict] | None = None) -> list[Row]:
    return judged(rows, known or {}, ask=lambda row: True, rate=RATE, now=NOW)  # type: ignore[arg-type]


def test_each_is_compared_with_the_base_and_with_the_best_before_it() -> None:
    rows = compared([measured(0, [2, 2], kind="base"), measured(1, [6, 6]), measured(2, [4, 4]), measured(3, [5, 5])])
    assert [row.best_earlier and row.best_earlier.model.position for row in rows] == [None, 0, 1, 1]
    assert [row.control and row.control.model.kind for row in rows] == [None, "base", "base", "base"]
    assert rows[3].to_control is not None
    assert rows[3].to_best_earlier is not None
    assert rows[3].to_control.difference == pytest.approx(3 / 8)
    assert rows[3].to_best_earlier.difference == pytest.approx(-1 / 8)
    assert [row.num_candidates for row in rows] == [0, 1, 2, 3]


def test_what_was_asked_otherwise_is_not_compared() -> None:
    rows = compared([measured(0, [8, 8], kind="base"), measured(1, [0, 0], dataset="other")])
    assert rows[1].best_earlier is None
    assert verdicts(rows)[1].verdict is None


def test_a_fall_is_flagged_with_the_model_that_it_fell_behind() -> None:
    rows = compared([measured(0, [2] * 10, kind="base"), measured(1, [7] * 10), measured(2, [4] * 10)])
    flagged = verdicts(rows)
    assert [row.verdict and row.verdict.worse_than for row in flagged] == [None, None, "checkpoint step 1"]
    assert flagged[2].verdict is not None
    assert flagged[2].verdict.num_judged == 2


def test_a_model_below_the_base_is_flagged_where_it_is_no_worse_than_the_best_after_the_base() -> None:
    rows = compared([measured(0, [5] * 10, kind="base"), measured(1, [0] * 10)])
    assert [row.verdict and row.verdict.worse_than for row in verdicts(rows)] == [None, "base"]


def test_a_verdict_is_said_once_and_only_of_what_is_asked_about() -> None:
    rows = compared([measured(0, [6] * 10, kind="base"), measured(1, [6] * 10), measured(2, [1] * 10)])
    before = Verdict(NOW, 7, 0.01, 1.0, 1.0, None)
    kept = verdicts(rows, {rows[2].key: before})
    assert kept[2].verdict is before
    assert kept[1].verdict is not None
    assert kept[1].verdict.num_judged == 1
    none = judged(rows, {}, ask=lambda row: False, rate=RATE, now=NOW)
    assert [row.verdict for row in none] == [None, None, None]


def test_many_that_are_judged_at_once_ask_for_more_of_each() -> None:
    """A fall that is flagged alone is not where nineteen others are judged in the same pass."""
    base, fallen = measured(0, [6] * 6, kind="base"), [4, 5, 5, 5, 5, 5]
    alone = verdicts(compared([base, measured(1, fallen)]))
    assert alone[1].verdict is not None
    p_value = alone[1].verdict.p_value
    equal = [measured(at, [6] * 6) for at in range(2, 21)]
    together = verdicts(compared([base, measured(1, fallen), *equal]))
    assert together[1].verdict is not None
    assert together[1].verdict.p_value == p_value
    assert together[1].verdict.adjusted_p_value == pytest.approx(min(1.0, 20 * p_value))


def test_noise_alone_raises_an_alarm_at_no_more_than_the_stated_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """One model under twenty seeds, many times over: all twenty judged in one pass, and each in a pass of its own."""
    monkeypatch.setattr("rl_core.evaluation.statistics.NUM_RESAMPLES", 10)  # of intervals, which decide nothing here
    draw = np.random.default_rng(0)
    rates = draw.beta(0.6, 0.9, 30)  # many that are always or never solved, as in AIME24
    together, alone = [], []
    for _ in range(SIMULATIONS):
        scores = draw.binomial(SAMPLES, rates, (SEEDS, rates.size)).tolist()
        rows = compared([measured(at, right, kind="seed" if at else "base") for at, right in enumerate(scores)])
        together.append(any(is_flagged(row) for row in verdicts(rows)))
        alone += [is_flagged(verdicts([row])[0]) for row in rows[1:]]
    assert 0 < np.mean(together) <= RATE
    assert 0 < np.mean(alone) <= RATE


def is_flagged(row: Row) -> bool:
    return row.verdict is not None and row.verdict.is_regression
