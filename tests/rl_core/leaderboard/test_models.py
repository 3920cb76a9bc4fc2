import shutil
from pathlib import Path

import pytest

from rl_core.errors import MistakeError
from rl_core.leaderboard.models import find_series, series_of, write_note
from rl_core.manifest import MANIFEST
from tests.rl_core.leaderboard.synthetic_runs import add_checkpoint, end_stage, evaluate, model, names, new_run


def test_a_series_is_the_base_then_each_stage_with_its_checkpoints_in_the_order_of_training(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    for index, step in [(0, 20), (0, 10), (0, 30), (1, 10)]:
        add_checkpoint(run, index, step)
    end_stage(run, 0)
    series = series_of(run)
    assert names(series) == ["base", "8k step 10", "8k step 20", "8k", "16k step 10"]
    assert [each.position for each in series.models] == [0, 10, 20, 30, 40]
    assert [each.kind for each in series.models] == ["base", "checkpoint", "checkpoint", "stage", "checkpoint"]


def test_a_stage_that_goes_on_from_an_earlier_checkpoint_says_so_and_the_later_ones_are_still_models(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path / "one")
    for step in (10, 20, 30):
        add_checkpoint(run, 0, step)
    end_stage(run, 0, step=20)
    assert names(series_of(run)) == ["base", "8k step 10", "8k", "8k step 30"]
    assert model(run, "8k").step == 20


def test_half_a_checkpoint_and_half_a_model_are_none(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    add_checkpoint(run, 0, 10)
    add_checkpoint(run, 0, 20)
    end_stage(run, 0)
    (run.stage(0).checkpoint(10) / MANIFEST).unlink()
    (run.stage(0).hf / "content.txt").unlink()
    assert names(series_of(run)) == ["base", "8k step 20"]


def test_the_digest_of_a_converted_checkpoint_is_found_again_and_outlives_the_checkpoint(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    add_checkpoint(run, 0, 10)
    before = model(run, "8k step 10")
    assert before.results == ()
    write_note(before, "c0ffee")
    file = evaluate(run, "c0ffee", [1, 2])
    assert model(run, "8k step 10").evaluations == [file]

    shutil.rmtree(run.stage(0).checkpoint(10))
    after = model(run, "8k step 10")
    assert (after.evaluations, after.folder) == ([file], None)


def test_a_checkpoint_trained_anew_is_another_model(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    add_checkpoint(run, 0, 10)
    write_note(model(run, "8k step 10"), "c0ffee")
    shutil.rmtree(run.stage(0).checkpoint(10))
    (run.stage(0).checkpoint(10)).parent.mkdir(exist_ok=True)
    add_checkpoint(run, 1, 10)
    run.stage(1).checkpoint(10).rename(run.stage(0).checkpoint(10))
    assert model(run, "8k step 10").results == ()


def test_a_model_evaluated_before_its_stage_ended_with_it_keeps_that_evaluation(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    add_checkpoint(run, 0, 30)
    write_note(model(run, "8k step 30"), "c0ffee")
    end_stage(run, 0)
    assert names(series_of(run)) == ["base", "8k"]
    assert [folder.name for folder in model(run, "8k").results[1:]] == ["c0ffee"]


def test_every_run_of_a_folder_is_found_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    new_run(tmp_path / "one")
    new_run(tmp_path / "two").config_file.write_text("name: two\nstages: none\n")
    (tmp_path / "no run").mkdir()
    series, left_out = find_series(tmp_path)
    assert [each.name for each in series] == ["one"]
    assert [sentence.split(":")[0] for sentence in left_out] == ["two"]
    assert [each.name for each in find_series(tmp_path / "one")[0]] == ["one"]


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match=r"--runs .*absent: no such folder"):
        find_series(tmp_path / "absent")
