"""The files of a leaderboard, of runs whose right answers are known."""

import shutil
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rl_core.config import ReevaluationConfig, load_config
from rl_core.errors import MistakeError
from rl_core.leaderboard.alarms import mark_told, read_alarms
from rl_core.leaderboard.files import BoardFiles
from rl_core.leaderboard.models import write_note
from rl_core.leaderboard.write import write_leaderboard
from rl_core.run_dir import RunDir
from tests.rl_core.leaderboard.synthetic_runs import add_checkpoint, end_stage, evaluate, model, new_run

DAYS = [datetime(2026, 11, day, 3, tzinfo=UTC) for day in (1, 2, 3)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run whose checkpoint on the way solves more than its base, and whose stage ends with less than that."""
    run = new_run(tmp_path / "runs" / "one <b>")
    evaluate(run, model(run, "base").results[0].name, [2] * 12, at=DAYS[0])
    add_checkpoint(run, 0, 10)
    write_note(model(run, "8k step 10"), "c0ffee")
    evaluate(run, "c0ffee", [6] * 12, at=DAYS[1])
    end_stage(run, 0)
    evaluate(run, model(run, "8k").results[0].name, [3] * 12, at=DAYS[2])
    return tmp_path / "runs"


def test_one_row_for_each_evaluation_with_its_differences_and_its_verdict(runs: Path) -> None:
    write_leaderboard(runs, ReevaluationConfig())
    rows = pq.read_table(BoardFiles(runs).table).to_pylist()
    assert [(row["model"], row["position"], row["pass_at_1"]) for row in rows] == [
        ("base", 0, 0.25), ("8k step 10", 10, 0.75), ("8k", 30, 0.375),
    ]  # fmt: skip
    last = rows[2]
    assert (last["to_control"], last["to_best_earlier"], last["best_earlier"]) == (0.125, -0.375, "8k step 10")
    assert last["to_best_earlier_low"] < -0.375 < last["to_best_earlier_high"]
    assert [row["regression"] for row in rows] == [None, False, True]
    assert (last["worse_than"], last["num_judged"], last["false_alarm_rate"]) == ("8k step 10", 2, 0.05)
    assert last["evaluated_at"] == DAYS[2]
    assert (runs / last["file"]).is_file()


def test_the_page_is_well_formed_and_holds_everything_it_shows(runs: Path) -> None:
    page = write_leaderboard(runs, ReevaluationConfig())
    tree = ET.fromstring(page.read_text(encoding="utf-8").replace("<!DOCTYPE html>", ""))
    text = " ".join(tree.itertext())
    assert "one <b>: 8k solves 0.375 of test, -37.5 points against 8k step 10" in " ".join(text.split())
    links = [
        element.get("src") or element.get("srcset") or "" for element in tree.iter() if element.tag in ("img", "source")
    ]
    assert len(links) == 4  # two pictures, each for light and dark pages
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert [file.name for file in BoardFiles(runs).pictures()] == ["leaderboard-1-dates.png", "leaderboard-1-steps.png"]
    assert "![pass@1 by training step](leaderboard-1-steps.png)" in BoardFiles(runs).markdown.read_text()


def test_a_verdict_stays_when_the_page_is_written_again_and_an_alarm_that_was_told_stays_told(runs: Path) -> None:
    files = BoardFiles(runs)
    write_leaderboard(runs, ReevaluationConfig())
    before = pq.read_table(files.table)
    (alarm,) = read_alarms(files.alarms)
    assert (alarm.model, alarm.told, alarm.newest, alarm.difference) == ("8k", False, True, -0.375)
    mark_told(files.alarms, [alarm])
    stricter = ReevaluationConfig.model_validate({"alarm": {"max_false_alarm_rate": 1e-9}})
    write_leaderboard(runs, stricter)
    assert pq.read_table(files.table) == before
    assert [each.told for each in read_alarms(files.alarms)] == [True]


def test_a_run_that_is_gone_is_gone_from_the_board_and_its_pictures_with_it(runs: Path) -> None:
    write_leaderboard(runs, ReevaluationConfig())
    shutil.rmtree(runs / "one <b>")
    page = write_leaderboard(runs, ReevaluationConfig())
    assert "Nothing has been evaluated yet." in page.read_text()
    assert BoardFiles(runs).pictures() == []
    assert read_alarms(BoardFiles(runs).alarms) == []


def test_results_that_cannot_be_read_are_named_and_the_rest_is_shown(runs: Path) -> None:
    next((runs / "one <b>" / "evaluations" / "c0ffee").glob("test-*.json")).write_text('{"pass_at_1": {"value": 1}}')
    page = write_leaderboard(runs, ReevaluationConfig())
    assert "cannot be read (KeyError: &#x27;model_digest&#x27;)" in page.read_text()
    assert pq.read_table(BoardFiles(runs).table).num_rows == 2


def test_a_table_that_is_none_is_not_overwritten(runs: Path) -> None:
    BoardFiles(runs).table.write_text("not parquet")
    with pytest.raises(MistakeError, match="cannot be read as a leaderboard"):
        write_leaderboard(runs, ReevaluationConfig())


def test_a_verdict_speaks_of_the_model_that_was_best_when_it_was_said(tmp_path: Path) -> None:
    """Checkpoints that were left out come in a later pass, and one of them is better than what a stage ended with."""
    run = new_run(tmp_path / "runs" / "one")
    evaluate(run, base_of(run), [2] * 12)
    end_stage(run, 0)
    evaluate(run, model(run, "8k").results[0].name, [6] * 12)
    end_stage(run, 1)
    evaluate(run, model(run, "16k").results[0].name, [3] * 12)
    write_leaderboard(run.root.parent, ReevaluationConfig(checkpoints="stages"))
    add_checkpoint(run, 0, 10)
    write_note(model(run, "8k step 10"), "c0ffee")
    evaluate(run, "c0ffee", [8] * 12)
    page = write_leaderboard(run.root.parent, ReevaluationConfig())
    told = {alarm.model: alarm for alarm in read_alarms(BoardFiles(run.root.parent).alarms)}
    assert (told["16k"].worse_than, told["16k"].difference) == ("8k", -0.375)
    assert "16k solves 0.375 of test, -37.5 points against 8k (95 %" in told["16k"].sentence
    assert told["16k"].sentence.removeprefix("one: 16k ") in " ".join(page.read_text().split())
    row = next(row for row in pq.read_table(BoardFiles(run.root.parent).table).to_pylist() if row["model"] == "16k")
    assert (row["worse_than"], row["worse_than_digest"]) == ("8k", model(run, "8k").results[0].name)
    assert (row["difference"], row["best_earlier"], row["to_best_earlier"]) == (-0.375, "8k step 10", -0.625)


def test_a_verdict_stays_where_a_better_model_before_it_is_evaluated_only_later(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs" / "one")
    evaluate(run, base_of(run), [2] * 12)
    for step in (10, 20):
        add_checkpoint(run, 0, step)
    write_note(model(run, "8k step 10"), "c0ffee10")
    evaluate(run, "c0ffee10", [6] * 12)
    end_stage(run, 0)
    evaluate(run, model(run, "8k").results[0].name, [3] * 12)
    write_leaderboard(run.root.parent, ReevaluationConfig())
    write_note(model(run, "8k step 20"), "c0ffee20")
    evaluate(run, "c0ffee20", [8] * 12)
    write_leaderboard(run.root.parent, ReevaluationConfig())
    (alarm,) = read_alarms(BoardFiles(run.root.parent).alarms)
    assert (alarm.model, alarm.worse_than, alarm.difference) == ("8k", "8k step 10", -0.375)


def test_a_verdict_stays_where_the_checkpoint_that_it_speaks_of_became_what_its_stage_ended_with(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path / "runs" / "one")
    evaluate(run, base_of(run), [2] * 12)
    for step, right in ((10, 6), (20, 3)):
        add_checkpoint(run, 0, step)
        write_note(model(run, f"8k step {step}"), f"c0ffee{step}")
        evaluate(run, f"c0ffee{step}", [right] * 12)
    write_leaderboard(run.root.parent, ReevaluationConfig())
    end_stage(run, 0, step=10)
    write_leaderboard(run.root.parent, ReevaluationConfig())
    (alarm,) = read_alarms(BoardFiles(run.root.parent).alarms)
    assert (alarm.model, alarm.worse_than, alarm.difference) == ("8k step 20", "8k step 10", -0.375)


def test_what_is_no_longer_asked_stays_on_the_board_but_ends_no_pass(runs: Path) -> None:
    files = BoardFiles(runs)
    write_leaderboard(runs, ReevaluationConfig())
    mark_told(files.alarms, read_alarms(files.alarms))
    assert [alarm.stands for alarm in read_alarms(files.alarms)] == [True]
    write_leaderboard(runs, ReevaluationConfig.model_validate({"protocol": "paper"}))
    assert [(alarm.model, alarm.stands) for alarm in read_alarms(files.alarms)] == [("8k", False)]


def test_an_alarm_over_the_problems_of_before_ends_no_pass(runs: Path) -> None:
    run = RunDir(runs / "one <b>", load_config(runs / "one <b>" / "config.yaml"))
    files = BoardFiles(runs)
    write_leaderboard(runs, ReevaluationConfig())
    write_note(model(run, "8k step 10"), "c0ffee20")
    evaluate(run, "c0ffee20", [6] * 12, dataset_digest="another")
    write_leaderboard(runs, ReevaluationConfig())
    assert [(alarm.model, alarm.stands) for alarm in read_alarms(files.alarms)] == [("8k", False)]


def test_a_series_is_not_judged_before_its_base_model_is_evaluated(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs" / "one")
    for index, right in ((0, 4), (1, 3)):
        end_stage(run, index)
        evaluate(run, model(run, run.stage_name(index)).results[0].name, [right] * 12)
    write_leaderboard(run.root.parent, ReevaluationConfig())
    assert [row["judged_at"] for row in rows_of(run)] == [None, None]
    evaluate(run, base_of(run), [8] * 12)
    write_leaderboard(run.root.parent, ReevaluationConfig())
    assert [(row["model"], row["num_judged"], row["worse_than"]) for row in rows_of(run)] == [
        ("base", None, None), ("8k", 2, "base"), ("16k", 2, "base"),
    ]  # fmt: skip


def test_a_series_that_has_no_base_model_is_judged_without_one(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs" / "one")
    shutil.rmtree(run.base)
    for index, right in ((0, 8), (1, 3)):
        end_stage(run, index)
        evaluate(run, model(run, run.stage_name(index)).results[0].name, [right] * 12)
    write_leaderboard(run.root.parent, ReevaluationConfig())
    assert [row["worse_than"] for row in rows_of(run)] == [None, "8k"]


def rows_of(run: RunDir) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(BoardFiles(run.root.parent).table).to_pylist()
    return rows


def base_of(run: RunDir) -> str:
    return model(run, "base").results[0].name
