"""Reports of runs that are not finished, are damaged, or did not work: each says so."""

import json
from pathlib import Path

import pytest

from rl_core.errors import MistakeError
from rl_core.manifest import write_json
from rl_core.report import write_report
from rl_core.run_dir import RunDir
from tests.rl_core.report import synthetic_run


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run with nothing in it."""
    return synthetic_run.new_run(tmp_path / "run")


def report_of(run: RunDir) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_run_directory_that_does_not_exist_is_a_mistake(run: RunDir) -> None:
    with pytest.raises(MistakeError, match="no such folder"):
        write_report(RunDir(run.root / "elsewhere", run.config))


def test_empty_run_is_reported_with_everything_missing(run: RunDir) -> None:
    text = report_of(run)
    assert "**Nothing has been evaluated yet.**" in text
    assert "**This report is of an unfinished run.** Missing:" in text
    for line in ("download", "data", "base model", "evaluate base", "train 8k", "convert 24k", "evaluate 24k"):
        assert f"- {line}: not done\n" in text
    assert "No stage has begun." in text
    assert "The data has not been prepared yet." in text
    assert list(run.root.glob("*.png")) == []


def test_run_in_its_second_stage_is_reported_as_far_as_it_is(run: RunDir) -> None:
    synthetic_run.write_data_and_base(run)
    synthetic_run.write_evaluation(run, None)
    synthetic_run.write_stage(run, 0)
    synthetic_run.write_evaluation(run, 0)
    synthetic_run.write_stage(run, 1, steps=3)
    text = report_of(run)
    assert (
        "does not change beyond its error: from 0.156 (0.050 to 0.300) for base to 0.344 (0.100 to 0.600) for 8k.** "
        "The 95 % intervals overlap." in text
    )
    assert "The last stage, 24k, has not been evaluated." in text
    assert "- train 16k: under way: continues after step 3\n" in text
    assert "- train 24k: not done\n" in text
    assert "- train 8k" not in text
    assert "| 3 of 8 |" in text
    assert sorted(path.name for path in run.root.glob("*.png")) == [
        "dynamics_curve.png",
        "evaluation_curve.png",
        "lengths_curve.png",
        "training_curve.png",
    ]


def test_base_model_alone_has_nothing_to_be_compared_with(run: RunDir) -> None:
    synthetic_run.write_data_and_base(run)
    synthetic_run.write_evaluation(run, None)
    text = report_of(run)
    assert "is 0.156 (0.050 to 0.300) for base; there is nothing to compare it with yet." in text
    assert [path.name for path in run.root.glob("*.png")] == ["evaluation_curve.png"]


def test_picture_of_an_earlier_report_is_removed_when_nothing_is_left_to_draw(run: RunDir) -> None:
    (run.root / "training_curve.png").write_bytes(b"old")
    report_of(run)
    assert not (run.root / "training_curve.png").exists()


def test_stage_that_falls_is_named(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    fallen = {**synthetic_run.RIGHT, None: (2, 2, 2, 2, 1, 1, 1, 1), 2: (0, 0, 0, 0, 0, 0, 0, 0)}
    monkeypatch.setattr(synthetic_run, "RIGHT", fallen)
    low = {"value": 0.0, "low": 0.0, "high": 0.04}
    monkeypatch.setattr(synthetic_run, "PASS_AT_1", {**synthetic_run.PASS_AT_1, 2: low})
    text = report_of(synthetic_run.write_run(run))
    assert (
        "**Held-out pass@1 on test falls from 0.156 (0.050 to 0.300) for base to 0.000 (0.000 to 0.040) for 24k.**"
        in text
    )
    assert "- **No**: pass@1 falls beyond its error in 24k." in text
    assert "- **No**: not every later limit lets problems be solved" in text
    assert "No response is right." in text


def test_metrics_line_cut_off_by_a_kill_is_counted_and_left_out(run: RunDir) -> None:
    synthetic_run.write_stage(run, 0, steps=3)
    with run.stage(0).metrics.open("a") as file:
        file.write('{"step": 4, "rewa')
    text = report_of(run)
    assert "- 1-8k/metrics.jsonl: 1 unreadable line(s), left out\n" in text
    assert "| 3 of 6 |" in text


def test_step_repeated_after_a_resume_counts_once(run: RunDir) -> None:
    synthetic_run.write_stage(run, 0, steps=3)
    again = {**synthetic_run.metrics_line(0, "8k", 3), "reward_mean": 0.43}
    with run.stage(0).metrics.open("a") as file:
        file.write(json.dumps(again) + "\n")
    assert "0.220" in next(line for line in report_of(run).splitlines() if "reward, first 5 steps" in line)


def test_part_of_another_recipe_is_named_and_left_out(run: RunDir) -> None:
    synthetic_run.write_run(run)
    other = synthetic_run.load_config(None, [*synthetic_run.OVERRIDES, "stages.2.steps=12"])
    text = report_of(RunDir(run.root, other))
    assert "- train 24k: made by another recipe, so left out here\n" in text
    assert "(0.250 to 0.800) for 16k.**" in text
    assert "model after 24k" not in text


def test_evaluation_without_its_responses_is_named(run: RunDir) -> None:
    synthetic_run.write_data_and_base(run)
    synthetic_run.write_evaluation(run, None).with_suffix(".parquet").unlink()
    assert "- evaluate base: the responses (" in report_of(run)


def test_evaluation_that_cannot_be_read_is_named(run: RunDir) -> None:
    synthetic_run.write_data_and_base(run)
    write_json(synthetic_run.write_evaluation(run, None), {"pass_at_1": {"value": None}})
    text = report_of(run)
    assert (
        "- evaluate base: its results cannot be read (ValueError: no response was scored), so left out here\n" in text
    )
