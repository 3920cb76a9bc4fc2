import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rl_core.config import load_reevaluation
from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import benchmark_name
from rl_core.leaderboard.asked import asked_of, benchmark_of, lacking
from rl_core.leaderboard.hub import hub_series
from rl_core.leaderboard.models import series_of, write_note
from rl_core.leaderboard.passes import left_to_do, open_pass
from rl_core.manifest import read_json, write_json
from tests.rl_core.leaderboard.synthetic_runs import add_checkpoint, evaluate, model, new_run, results

PAPER = ReevaluationConfig.model_validate({"benchmark": "aime24", "protocol": "paper"})
DEFAULT = ReevaluationConfig()


def lacking_names(run_series: object, config: ReevaluationConfig) -> list[str]:
    return [each.name for each in lacking(run_series, config)]  # type: ignore[arg-type]


def test_what_a_recipe_evaluated_itself_is_not_asked_again(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    add_checkpoint(run, 0, 10)
    assert lacking_names(series_of(run), DEFAULT) == ["base", "8k step 10"]
    evaluate(run, model(run, "base").results[0].name, [1, 2])
    assert lacking_names(series_of(run), DEFAULT) == ["8k step 10"]


def test_another_benchmark_protocol_or_seed_is_another_question(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    evaluate(run, model(run, "base").results[0].name, [1, 2])
    seeded = {**run.config.evaluation.protocol.model_dump(mode="json"), "seed": 7}
    for asked in ({"protocol": seeded}, {"benchmark": "aime24"}, {"protocol": "paper"}):
        assert lacking_names(series_of(run), ReevaluationConfig.model_validate(asked)) == ["base"]


def test_only_what_stages_ended_with_is_asked_where_that_is_said(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one")
    add_checkpoint(run, 0, 10)
    assert lacking_names(series_of(run), ReevaluationConfig(checkpoints="stages")) == ["base"]


def test_data_of_the_run_is_named_by_its_file_and_a_benchmark_by_its_name(tmp_path: Path) -> None:
    series = series_of(new_run(tmp_path / "one"))
    assert benchmark_of(series, DEFAULT) == str(tmp_path / "one" / "data" / "test.parquet")
    assert benchmark_of(series, PAPER) == "aime24"
    assert asked_of(series, DEFAULT)[0] == "test"


def test_what_the_recipe_asks_is_read_from_the_runs_own_copy_and_filed_under_the_same_name(tmp_path: Path) -> None:
    run = new_run(tmp_path / "one", "evaluation.benchmark=aime24")
    series = series_of(run)
    assert benchmark_of(series, DEFAULT) == "aime24"
    own = run.problems("aime24")
    own.parent.mkdir(parents=True)
    own.touch()
    assert benchmark_of(series, DEFAULT) == str(tmp_path / "one" / "benchmarks" / "aime24" / "problems.parquet")
    assert benchmark_name(benchmark_of(series, DEFAULT)) == "aime24"
    assert benchmark_of(series, PAPER) == "aime24"  # as it is said for all runs


def test_a_checkpoint_that_a_training_removed_before_its_turn_is_passed_over(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs" / "one")
    add_checkpoint(run, 0, 10)
    with open_pass(DEFAULT, tmp_path / "runs") as files:
        todo = left_to_do(files, DEFAULT)
        assert next(todo)[1].name == "base"
        shutil.rmtree(run.stage(0).checkpoint(10))
        assert list(todo) == []


def test_where_a_benchmark_has_other_problems_than_before_all_models_are_asked_again(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs" / "one")
    add_checkpoint(run, 0, 10)
    write_note(model(run, "8k step 10"), "c0ffee")
    base = model(run, "base").results[0].name
    evaluate(run, base, [1], at=datetime(2026, 11, 1, tzinfo=UTC))
    with open_pass(DEFAULT, tmp_path / "runs") as files:
        todo = left_to_do(files, DEFAULT)
        assert next(todo)[1].name == "8k step 10"
        evaluate(run, "c0ffee", [1], dataset_digest="another")
        assert next(todo)[1].name == "base"
        evaluate(run, base, [1], dataset_digest="another")
        assert list(todo) == []


def test_two_passes_over_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        open_pass(DEFAULT, tmp_path),
        pytest.raises(MistakeError, match="another process re-evaluates it now"),
        open_pass(DEFAULT, tmp_path),
    ):
        pass


HUB = ReevaluationConfig.model_validate(
    {
        "benchmark": "aime24",
        "protocol": "paper",
        "hub_models": [{"model_name": "a/b", "revisions": ["v1", "main"], "base": {"model_name": "a/base"}}],
    }
)
COMMITS = {"huggingface:a/b@v1": "1" * 40, "huggingface:a/b@main": "2" * 40, "huggingface:a/base@main": "0" * 40}


def test_revisions_on_a_hub_are_a_series_and_a_branch_that_moves_becomes_another_model(tmp_path: Path) -> None:
    assert hub_series(tmp_path, HUB)[0].models == ()
    see(tmp_path, COMMITS)
    assert hub_names(tmp_path) == ["base: a/base", "v1 at 11111111", "main at 22222222"]
    series = hub_series(tmp_path, HUB)[0]
    asked = series.models[2]
    assert asked.hub is not None
    assert asked.hub.revision == "2" * 40
    write_json_below(asked.output / "c0ffee" / asked_name(series), results({}, "c0ffee", [1]))
    assert lacking_names(hub_series(tmp_path, HUB)[0], HUB) == ["base: a/base", "v1 at 11111111"]

    see(tmp_path, {**COMMITS, "huggingface:a/b@main": "3" * 40})
    assert hub_names(tmp_path) == ["base: a/base", "v1 at 11111111", "main at 22222222", "main at 33333333"]
    assert lacking_names(hub_series(tmp_path, HUB)[0], HUB)[-1] == "main at 33333333"


def see(runs: Path, commits: dict[str, str]) -> None:
    """What a look at the hub leaves."""
    write_json_below(runs / "hub" / "revisions.json", commits)
    for key, commit in commits.items():
        name, _, revision = key.removeprefix("huggingface:").partition("@")
        note = {"model_name": name, "revision": revision, "commit": commit, "seen_at": f"2026-11-0{commit[0]}"}
        write_json_below(runs / "hub" / name.replace("/", "--") / commit / "revision.json", note)


def write_json_below(file: Path, value: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, value)
    assert read_json(file) is not None


def hub_names(runs: Path) -> list[str]:
    return [each.name for each in hub_series(runs, HUB)[0].models]


def asked_name(series: object) -> str:
    from rl_core.leaderboard.asked import results_name

    return results_name(series, HUB)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hub_models=[{model_name: a/b}]", "hub_models have no recipe of their own: say `benchmark` and `protocol`"),
        (
            "hub_models=[{model_name: a/b, revisions: [v1]}, {model_name: a/b, revisions: [v2]}]",
            "hub_models: 2 entries name a/b: give all its revisions to one",
        ),
        ("hub_models=[{model_name: ab}]", "hub_models.0.model_name: String should match pattern"),
        ("alarm.max_false_alarm_rate=0", "alarm.max_false_alarm_rate: Input should be greater than 0"),
        ("benchmark=aime1924", "'aime1924' is not known"),
        ("run=x", "run: unknown key"),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_its_field(override: str, message: str) -> None:
    with pytest.raises(MistakeError, match="is not a valid re-evaluation") as refused:
        load_reevaluation(None, [override])
    assert message in str(refused.value)
