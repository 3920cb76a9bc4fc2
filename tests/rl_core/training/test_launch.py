from pathlib import Path

import pytest

from rl_core.config import RecipeConfig, load_config
from rl_core.errors import MistakeError
from rl_core.manifest import publishing, write_json
from rl_core.run_dir import RunDir
from rl_core.training.launch import num_processes, train_stage
from rl_core.training.summary import read_summary, update_summary, write_summary


def make(folder: Path, key: str) -> None:
    with publishing(folder, key=key) as partial:
        (partial / "file").write_text("content")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path, load_config())


def with_settings(run: RunDir, *overrides: str) -> RunDir:
    return RunDir(run.root, load_config(overrides=overrides))


def test_what_is_missing_is_told_with_the_command_that_makes_it(run: RunDir) -> None:
    with pytest.raises(MistakeError, match="run `python -m rl_core prepare` first"):
        train_stage(run, 0)
    make(run.data, run.keys.data())
    with pytest.raises(MistakeError, match="run `python -m rl_core warm-up` first"):
        train_stage(run, 0)
    with pytest.raises(MistakeError, match="run `python -m rl_core convert --stage 1` first"):
        train_stage(run, 2)


def test_data_or_a_first_policy_of_other_settings_is_never_trained_on(run: RunDir) -> None:
    make(run.data, run.keys.data())
    make(run.base, run.keys.base())
    make(run.stage(0).hf, run.keys.hf(0))
    with pytest.raises(MistakeError, match=r"data was made with other settings"):
        train_stage(with_settings(run, "data.probe_problems=9"), 0)
    with pytest.raises(MistakeError, match=r"base was made with other settings"):
        train_stage(with_settings(run, "policy.attention=eager"), 0)
    with pytest.raises(MistakeError, match=r"1-8k.hf was made with other settings"):
        train_stage(with_settings(run, "stages.0.steps=3"), 1)


def test_a_stage_starts_from_the_one_before(run: RunDir) -> None:
    assert [run.first_policy(index) for index in range(3)] == [run.base, run.stage(0).hf, run.stage(1).hf]


def test_the_number_of_processes_is_as_configured() -> None:
    assert num_processes(load_config(overrides=["training.num_processes=5"])) == 5
    assert num_processes(load_config()) >= 1


def finished(run: RunDir) -> RecipeConfig:
    make(run.stage(0).checkpoint(25), run.keys.stage(0))
    metrics = [{"step": 0, "probe_reward_mean": 0.25}, {"step": 25, "probe_reward_mean": 0.5}]
    run.stage(0).metrics.write_text("".join(f"{line}\n".replace("'", '"') for line in metrics))
    write_summary(run, 0)
    return run.config


def test_the_summary_names_the_last_checkpoint_and_the_probe_before_and_after(run: RunDir) -> None:
    finished(run)
    assert read_summary(run, 0) == {
        "status": "complete",
        "stage": "8k",
        "index": 0,
        "steps": 25,
        "checkpoint": "checkpoints/step_000025",
        "model_digest": None,
        "hf": None,
        "evaluation": None,
        "promotion": {"decision": "last step", "step": 25, "numbers": {"probe_reward_mean": 0.5}},
        "probe": {"before": 0.25, "after": 0.5},
    }
    update_summary(run, 0, hf="hf")
    summary = read_summary(run, 0)
    assert summary is not None
    assert (summary["hf"], summary["steps"]) == ("hf", 25)


def test_a_summary_counts_only_with_its_own_whole_checkpoint_of_this_recipe(run: RunDir) -> None:
    assert read_summary(run, 0) is None
    finished(run)
    assert read_summary(with_settings(run, "seed=1"), 0) is None
    (run.stage(0).checkpoint(25) / "file").unlink()
    assert read_summary(run, 0) is None
    make(run.stage(0).checkpoint(25), run.keys.stage(0))
    write_json(run.stage(0).summary, {"status": "running"})
    assert read_summary(run, 0) is None
