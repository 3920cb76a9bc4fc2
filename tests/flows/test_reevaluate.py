"""The flow of a re-evaluation on a Prefect of the tests: models are stood in for, all around them is real."""

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rl_core.config import ReevaluationConfig
from rl_core.errors import GuardStop
from rl_core.leaderboard.alarms import Alarm, read_alarms
from rl_core.leaderboard.files import BoardFiles
from rl_core.leaderboard.models import Model, Series
from tasks.failures import StageFailed
from tests.flows.team_server import wait_until
from tests.rl_core.leaderboard.synthetic_runs import add_checkpoint, end_stage, new_run

pytestmark = pytest.mark.usefixtures("prefect_server")

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = f"{sys.executable} {Path(__file__).with_name('stand_in_evaluations.py')}"
FALLEN = [0] * 10
Calls = Callable[[], list[str]]
Solve = Callable[..., None]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run with a base model, two checkpoints of its first stage, and what the stage ended with."""
    run = new_run(tmp_path / "runs" / "one")
    add_checkpoint(run, 0, 10)
    add_checkpoint(run, 0, 20)
    end_stage(run, 0)
    return tmp_path / "runs"


@pytest.fixture
def solve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Solve:
    """Models are stood in for; call it to say what each solves."""
    monkeypatch.setenv("RL_CORE_COMMAND", STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("STAND_IN", str(tmp_path))

    def says(**right: list[int] | str) -> None:
        (tmp_path / "right.json").write_text(json.dumps(right))

    says()
    return says


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    """What was started since this was last asked."""

    def since() -> list[str]:
        log = tmp_path / "calls.log"
        lines = log.read_text().splitlines() if log.is_file() else []
        log.unlink(missing_ok=True)
        return lines

    return since


@pytest.fixture
def no_delays() -> Iterator[None]:
    """New attempts at once."""
    from tasks.reevaluation import evaluate_model

    before = evaluate_model.retry_delay_seconds
    evaluate_model.retry_delay_seconds = [0.0, 0.0]
    yield
    evaluate_model.retry_delay_seconds = before


def run_flow(runs: Path | None, **alarm: object) -> Path:
    from flows.reevaluate import reevaluate

    return reevaluate(ReevaluationConfig.model_validate({"alarm": alarm}), runs)


def rows_of(runs: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(BoardFiles(runs).table).to_pylist()
    return rows


def task_runs() -> list[str]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return [run.name for run in client.read_task_runs(limit=200)]


def test_each_model_is_asked_once_and_a_new_checkpoint_alone_adds_a_row(runs: Path, solve: Solve, calls: Calls) -> None:
    assert run_flow(runs) == runs / "leaderboard.html"
    assert calls() == [
        "evaluate base",
        "convert 0 10",
        "evaluate step_000010",
        "convert 0 20",
        "evaluate step_000020",
        "evaluate hf",
        "leaderboard",
    ]
    assert [row["model"] for row in rows_of(runs)] == ["base", "8k step 10", "8k step 20", "8k"]
    assert not (runs / "one" / "stages" / "1-8k" / "converted").exists()
    assert {"one: evaluate base", "one: evaluate 8k step 20", "leaderboard of runs"} <= set(task_runs())
    judged_before = [row["judged_at"] for row in rows_of(runs)]

    run = new_run(runs / "two")
    add_checkpoint(run, 0, 10)
    run_flow(runs)
    assert calls() == ["evaluate base", "convert 0 10", "evaluate step_000010", "leaderboard"]
    assert [row["series"] for row in rows_of(runs)] == ["one"] * 4 + ["two"] * 2
    assert [row["judged_at"] for row in rows_of(runs)][:4] == judged_before
    assert [row["num_judged"] for row in rows_of(runs)] == [None, 3, 3, 3, None, 1]


def test_a_pass_before_the_first_run_writes_an_empty_leaderboard(
    tmp_path: Path, solve: Solve, calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_flow(None) == tmp_path / "runs" / "leaderboard.html"
    assert f"nothing to evaluate yet: {tmp_path / 'runs'} holds no run" in capsys.readouterr().out
    assert calls() == ["leaderboard"]
    assert "Nothing has been evaluated yet." in (tmp_path / "runs" / "leaderboard.html").read_text()


def test_a_model_that_cannot_be_asked_does_not_keep_the_others_and_is_asked_the_next_time(
    runs: Path, solve: Solve, calls: Calls, no_delays: None
) -> None:
    solve(step_000010="CUDA error: out of memory")
    with pytest.raises(StageFailed, match=r"1 failed:(.|\n)*8k step 10 ended with code 1(.|\n)*out of memory"):
        run_flow(runs)
    assert calls().count("evaluate step_000010") == 3
    assert [row["model"] for row in rows_of(runs)] == ["base", "8k step 20", "8k"]

    solve()
    run_flow(runs)
    assert calls() == ["convert 0 10", "evaluate step_000010", "leaderboard"]


def test_a_pass_that_fails_over_a_regression_names_what_could_not_be_asked_as_well(
    runs: Path, solve: Solve, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rl_core.leaderboard.passes import left_to_do

    def one_goes_meanwhile(*arguments: Any) -> Iterator[tuple[Series, Model]]:
        for series, model in left_to_do(*arguments):
            if model.name == "base":
                shutil.rmtree(runs / "one" / "base")
            yield series, model

    monkeypatch.setattr("flows.reevaluate.left_to_do", one_goes_meanwhile)
    solve(hf=FALLEN)
    worse, failed = r"1 became worse:\n  one: 8k solves 0.000 of test.*", r"1 failed:\none: base: FileNotFoundError: "
    with pytest.raises(GuardStop, match=rf"{worse}\n{failed}"):
        run_flow(runs, fail=True, emit_event=False)
    assert [row["model"] for row in rows_of(runs)] == ["8k step 10", "8k step 20", "8k"]


@pytest.mark.slow
def test_a_planted_regression_is_an_event_once_and_a_failure_for_as_long_as_it_stands(
    runs: Path, solve: Solve, calls: Calls
) -> None:
    solve(hf=FALLEN)
    run_flow(runs)
    (alarm,) = read_alarms(BoardFiles(runs).alarms)
    assert (alarm.model, alarm.worse_than, alarm.told, alarm.newest) == ("8k", "base", True, True)
    (event,) = events_of(alarm)
    assert event["resource"]["prefect.resource.name"] == "one: 8k"
    assert event["payload"]["difference"] == -0.5
    assert any(related["prefect.resource.role"] == "flow-run" for related in event["related"])

    with pytest.raises(GuardStop, match=r"1 became worse:\n  one: 8k solves 0.000 of test, -50.0 points against base"):
        run_flow(runs, fail=True)
    assert len(events_of(alarm)) == 1

    run = new_run(runs / "one-more")  # another run does not end it, a better model of the same does
    add_checkpoint(run, 0, 10)
    with pytest.raises(GuardStop):
        run_flow(runs, fail=True)
    from rl_core.config import load_config
    from rl_core.run_dir import RunDir

    add_checkpoint(RunDir(runs / "one", load_config(runs / "one" / "config.yaml")), 1, 10)
    solve(hf=FALLEN, step_000010=[6] * 10)
    run_flow(runs, fail=True)
    assert not read_alarms(BoardFiles(runs).alarms)[0].newest


def test_an_alarm_that_was_not_told_is_told_by_the_next_pass(
    runs: Path, solve: Solve, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve(hf=FALLEN)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.alarm.emit_event", lambda *_, **__: None)  # as Prefect answers where it cannot send
        run_flow(runs)
    (alarm,) = read_alarms(BoardFiles(runs).alarms)
    assert not alarm.told
    run_flow(runs)
    assert read_alarms(BoardFiles(runs).alarms)[0].told
    assert len(events_of(alarm)) == 1


@pytest.mark.parametrize("how", ["is refused", "is not answered"])
def test_an_event_that_does_not_arrive_is_not_told_and_does_not_hold_the_pass(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.events import Event
    from prefect.events.clients import PrefectEventsClient

    from tasks.alarm import emit_regressions

    alarm, arrives, emit = alarm_of(how), threading.Event(), PrefectEventsClient._emit

    async def lost(self: PrefectEventsClient, event: Event) -> None:
        if event.resource.id.endswith(alarm.model_digest) and not arrives.is_set():
            if how == "is refused":
                raise ConnectionError("the websocket was closed")
            while not arrives.is_set():
                await asyncio.sleep(0.1)
        await emit(self, event)

    with monkeypatch.context() as patch:
        patch.setattr("tasks.alarm.PATIENCE_SECONDS", 2.0)
        patch.setattr(PrefectEventsClient, "_emit", lost)
        assert emit_regressions([alarm]) == []
        arrives.set()
    assert emit_regressions([alarm]) == [alarm]
    assert emit_regressions([alarm]) == [alarm]  # as after a pass that was killed before it noted so
    assert len(events_of(alarm)) == 1


def alarm_of(model_digest: str) -> Alarm:
    return Alarm(
        "one", model_digest, "test", "d", "p", "8k", "base", 0.0, -0.5, 1e-6, 0.05, 1,
        judged_at="2026-11-26T00:00:00+00:00", newest=True, sentence="one: 8k solves less than base",
    )  # fmt: skip


def events_of(alarm: Alarm) -> list[dict[str, object]]:
    """What the server's events API has of it, once it has any; an event takes a while to be written."""
    from prefect.client.orchestration import get_client

    from tasks.alarm import EVENT

    asked = {"filter": {"event": {"name": [EVENT]}}, "limit": 50}

    def found() -> list[dict[str, object]]:
        with get_client(sync_client=True) as client:
            events = client.request("POST", "/events/filter", json=asked).json()["events"]
        own = [event for event in events if event["resource"]["prefect.resource.id"].endswith(alarm.model_digest)]
        return [event for event in own if event["payload"]["judged_at"] == alarm.judged_at]  # not another test's

    wait_until(found, "the event")
    return found()
