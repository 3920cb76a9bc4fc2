from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.manifest import publishing, write_json
from rl_core.plan import (
    DONE,
    OTHER_RECIPE,
    TO_DO,
    UNDER_WAY,
    all_parts,
    data_part,
    evaluation_part,
    evaluation_parts,
    evaluations_part,
    training_part,
)
from rl_core.run_dir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run", load_config())


def make(folder: Path, key: str) -> None:
    with publishing(folder, key=key) as partial:
        (partial / "file").write_text("content")


def test_of_an_empty_folder_everything_is_to_do_in_the_order_of_the_recipe(run: RunDir) -> None:
    parts = all_parts(run)
    assert [part.name for part in parts[:7]] == [
        "download", "data", "base model", "evaluate base", "train 8k", "convert 8k", "evaluate 8k",
    ]  # fmt: skip
    assert parts[-1].name == "report"
    assert {part.state for part in parts} == {TO_DO}
    assert not run.root.exists()


def test_a_folder_is_done_only_under_its_own_key_and_while_its_files_are_whole(run: RunDir) -> None:
    make(run.data, run.keys.data())
    assert data_part(run).state == DONE
    assert len(data_part(run).digest) == 16
    (run.data / "file").write_text("longer content")
    assert data_part(run).state == TO_DO
    make(run.data, "0123456789abcdef")
    assert data_part(run).state == OTHER_RECIPE


def test_a_training_is_under_way_from_its_newest_whole_checkpoint_until_its_summary(run: RunDir) -> None:
    stage, key = run.stage(0), run.keys.stage(0)
    make(stage.checkpoint(10), key)
    make(stage.checkpoint(20), key)
    (stage.checkpoint(20) / "file").unlink()
    part = training_part(run, 0)
    assert (part.state, part.step, part.status) == (UNDER_WAY, 10, "under way: continues after step 10")

    make(stage.checkpoint(25), key)
    assert training_part(run, 0).state == UNDER_WAY
    write_json(stage.summary, {"status": "complete"})
    assert training_part(run, 0).state == DONE


def test_a_training_with_other_settings_is_told_apart(run: RunDir) -> None:
    make(run.stage(0).checkpoint(10), run.keys.stage(0))
    other = RunDir(run.root, load_config(overrides=["stages.0.optimizer.learning_rate=5e-5"]))
    assert training_part(other, 0).state == OTHER_RECIPE
    other = RunDir(run.root, load_config(overrides=["training.zero_stage=3", "training.num_processes=2"]))
    assert training_part(other, 0).state == UNDER_WAY


def test_an_evaluation_belongs_to_the_content_of_its_model(run: RunDir) -> None:
    assert evaluation_part(run, None).state == TO_DO
    make(run.base, run.keys.base())
    path = evaluation_part(run, None).path
    path.parent.mkdir(parents=True)
    write_json(path, {"pass_at_1": {"value": 0.5}})
    assert evaluation_part(run, None).state == DONE
    with publishing(run.base, key=run.keys.base()) as partial:
        (partial / "file").write_text("another model")
    assert evaluation_part(run, None).state == TO_DO


@pytest.mark.parametrize(("benchmark", "name"), [("test", "test"), ("aime24", "aime24"), ("~/own.json", "own")])
def test_results_of_other_problems_than_the_runs_are_not_its_evaluation(
    benchmark: str, name: str, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "run", load_config(None, [f"evaluation.benchmark={benchmark}"]))
    make(run.base, run.keys.base())
    path = evaluation_part(run, None).path
    path.parent.mkdir(parents=True)
    write_json(path, {"dataset_digest": "another"})
    assert evaluation_part(run, None).state == DONE  # the digest of the run's problems was not noted
    with publishing(run.problems(benchmark).parent, key="k", dataset_digests={name: "its own"}):
        pass
    assert evaluation_part(run, None).state == TO_DO
    write_json(path, {"dataset_digest": "its own"})
    assert evaluation_part(run, None).state == DONE


def with_benchmarks(run: RunDir, *benchmarks: str) -> RunDir:
    return RunDir(run.root, load_config(overrides=[f"evaluation.further_benchmarks=[{', '.join(benchmarks)}]"]))


def test_every_benchmark_is_a_part_and_so_is_each_models_evaluation_on_it(run: RunDir) -> None:
    names = [part.name for part in all_parts(with_benchmarks(run, "aime24", "own/sums.jsonl"))]
    assert names[:7] == [
        "download", "benchmark aime24", "benchmark sums", "data", "base model", "evaluate base",
        "evaluate base on aime24",
    ]  # fmt: skip
    assert "evaluate 24k on sums" in names


def test_the_evaluations_of_a_model_are_done_when_each_of_them_is(run: RunDir) -> None:
    run = with_benchmarks(run, "aime24")
    make(run.base, run.keys.base())
    first, second = evaluation_parts(run, None)
    assert first.key != second.key
    for part in (first, second):
        assert evaluations_part(run, None).state == TO_DO
        part.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(part.path, {"pass_at_1": {"value": 0.5}})
    assert evaluations_part(run, None).state == DONE
    assert evaluations_part(with_benchmarks(run, "aime24", "amc"), None).state == TO_DO


def test_a_benchmark_that_is_added_or_taken_away_changes_no_part_but_its_own(run: RunDir) -> None:
    before, after = ({part.name: part.key for part in all_parts(with_benchmarks(run, *names))} for names in (
        ("aime24",), ("aime24", "amc"),
    ))  # fmt: skip
    assert {name: key for name, key in after.items() if name in before and name != "report"} == {
        name: key for name, key in before.items() if name != "report"
    }
