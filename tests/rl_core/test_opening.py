import fcntl
import os
from pathlib import Path

import pytest
import yaml

from rl_core.config import load_config
from rl_core.errors import MistakeError
from rl_core.manifest import publishing
from rl_core.opening import open_run
from rl_core.run_dir import RunDir


def test_opening_writes_the_resolved_recipe_and_its_digest(tmp_path: Path) -> None:
    config = load_config(overrides=["seed=7"])
    with open_run(config, tmp_path / "run") as run:
        assert yaml.safe_load(run.config_file.read_text())["seed"] == 7
        assert load_config(run.config_file) == config
        assert run.config_digest_file.read_text() == f"{run.keys.recipe()}\n"


def test_a_run_is_open_in_one_place_at_a_time_and_free_afterwards(tmp_path: Path) -> None:
    config = load_config()
    with (
        open_run(config, tmp_path / "run"),
        pytest.raises(MistakeError, match="another process is working on this run"),
        open_run(config, tmp_path / "run"),
    ):
        pass
    with open_run(config, tmp_path / "run"):
        pass


def test_a_lock_left_by_a_dead_process_does_not_count(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    child = os.fork()
    if child == 0:
        fcntl.flock(os.open(run, os.O_RDONLY), fcntl.LOCK_EX)
        os._exit(0)
    os.waitpid(child, 0)
    with open_run(load_config(), run):
        pass


def test_parts_of_another_recipe_are_refused_with_what_differs_and_what_to_do(tmp_path: Path) -> None:
    with open_run(load_config(), tmp_path / "run") as run, publishing(run.data, key=run.keys.data()) as partial:
        (partial / "train.parquet").write_text("rows")
    before = run.config_file.read_text()

    with (
        pytest.raises(MistakeError) as refused,
        open_run(load_config(overrides=["data.probe_problems=64", "stages.0.steps=30"]), tmp_path / "run"),
    ):
        pass
    assert str(refused.value).splitlines() == [
        f"--run-dir {run.root} holds parts of another recipe: data",
        "  data.probe_problems: 128 -> 64",
        "  stages.0.steps: 25 -> 30",
        f"Give another --run-dir, or remove what is to be made again: rm -r {run.root}/data",
    ]
    assert run.config_file.read_text() == before


def test_settings_that_decide_no_part_may_change(tmp_path: Path) -> None:
    with open_run(load_config(), tmp_path / "run") as run, publishing(run.data, key=run.keys.data()) as partial:
        (partial / "train.parquet").write_text("rows")
    with open_run(load_config(overrides=["tracking.wandb=disabled", "stages.2.steps=50"]), tmp_path / "run") as run:
        assert yaml.safe_load(run.config_file.read_text())["stages"][2]["steps"] == 50


def test_parts_of_another_version_of_the_program_are_named_as_such(tmp_path: Path) -> None:
    with open_run(load_config(), tmp_path / "run") as run, publishing(run.data, key="of an older version") as partial:
        (partial / "train.parquet").write_text("rows")
    with pytest.raises(MistakeError, match="another version of this program"), open_run(run.config, run.root):
        pass


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(MistakeError, match="cannot be used as a folder"), open_run(load_config(), tmp_path / "run"):
        pass


def test_the_run_is_found_by_the_same_keys_from_its_own_configuration(tmp_path: Path) -> None:
    with open_run(load_config(overrides=["seed=3"]), tmp_path / "run") as run:
        again = RunDir(run.root, load_config(run.config_file))
    assert again.keys.stage(2) == run.keys.stage(2)
