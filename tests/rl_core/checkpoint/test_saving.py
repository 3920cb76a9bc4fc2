"""What a checkpoint holds, and that it is published whole or not at all while the training goes on.

Two ranks, and every ZeRO stage, are in `training/test_zero_stages`; a kill during a write in `training/test_resume`.
"""

import json
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from rl_core.checkpoint import saving
from rl_core.checkpoint.saving import CheckpointSaver
from rl_core.checkpoint.state import complete_checkpoints
from rl_core.checkpoint.tensors import read_tensors
from rl_core.config import load_config
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import GuardStop, MistakeError
from rl_core.manifest import read_manifest
from rl_core.training.learner import Learner
from rl_core.training.partitions import read_weight
from rl_core.world import World
from tests.rl_core.training.tiny_training import fixed_rollouts, new_learner, step

KEY = "0123456789abcdef"
SMALL = 1000  # bytes: less than any file of tensors here


@pytest.fixture(scope="module")
def learner(world: World) -> Learner:
    trained = new_learner(world, 0)  # without ZeRO a parameter is read where the optimizer changes it
    step(trained, fixed_rollouts())
    return trained


@pytest.fixture
def saver(learner: Learner) -> CheckpointSaver:
    return new_saver(learner)


def new_saver(learner: Learner) -> CheckpointSaver:
    config = load_config(overrides=["seed=9", "checkpoint.keep_last=1"])
    return CheckpointSaver(learner, config=config, key=KEY, tokenizer=build_tokenizer(), prompts=[(2, 3, 4), (5, 6)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def weights_of(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: read_weight(parameter).clone() for name, parameter in learner.named_parameters()}


@contextmanager
def no_file_may_grow() -> Iterator[None]:
    """Every file of this process ends at SMALL bytes, as on a disk that is full."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


def test_a_checkpoint_holds_everything_under_the_names_of_the_contract(saver: CheckpointSaver, tmp_path: Path) -> None:
    directory = tmp_path / "step_000003"
    with saver:
        saver.save(directory, {"step": 3, "data": {"position": 96}})
    assert names(tmp_path) == ["step_000003"]
    assert names(directory) == ["config.yaml", "manifest.json", "policy", "trainer"]
    assert {"weights", "config.json", "generation_config.json", "tokenizer.json", "probe.safetensors"} <= set(
        names(directory / "policy")
    )
    assert names(directory / "trainer") == ["optimizer", "state.json"]
    assert json.loads((directory / "trainer" / "state.json").read_text()) == {
        "step": 3,
        "data": {"position": 96},
        "optimizer_steps": 4,
    }
    assert yaml.safe_load((directory / "config.yaml").read_text())["seed"] == 9
    manifest = read_manifest(directory)
    assert manifest is not None
    assert (manifest["config_digest"], manifest["world_size"], manifest["zero_stage"]) == (KEY, 1, 0)
    assert {"torch", "transformers", "deepspeed"} <= set(manifest["versions"])


def test_what_is_written_is_what_there_was_when_it_was_asked_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = new_learner(world, 0)
    step(learner, fixed_rollouts())
    expected, state = weights_of(learner), {"step": 3, "metrics": {"reward_mean": 0.5}}
    may_write, write = threading.Event(), saving.write_tensors

    def write_late(*arguments: object, **options: object) -> None:
        may_write.wait()
        write(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(saving, "write_tensors", write_late)
    with new_saver(learner) as saver:
        saver.save(tmp_path / "step_000003", state)
        assert names(tmp_path) == []
        step(learner, fixed_rollouts(seed=1))
        state["metrics"]["reward_mean"] = 0.75  # type: ignore[index]
        may_write.set()
    stored = dict(read_tensors(tmp_path / "step_000003" / "policy" / "weights"))
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], value) for name, value in expected.items())
    assert not any(torch.equal(stored[name], value) for name, value in weights_of(learner).items())
    stored_state = json.loads((tmp_path / "step_000003" / "trainer" / "state.json").read_text())
    assert stored_state["metrics"] == {"reward_mean": 0.5}


def test_a_save_begins_when_the_one_before_is_published_and_older_ones_are_pruned(
    saver: CheckpointSaver, tmp_path: Path
) -> None:
    with saver:
        for number in (1, 2, 3):
            saver.save(tmp_path / f"step_{number}", {"step": number})
            assert saver.latest == tmp_path / f"step_{number}"
            assert {f"step_{number - 1}"} - {"step_0"} <= set(names(tmp_path)) <= {
                f"step_{number - 1}", f"step_{number}", f"step_{number}.partial",
            }  # fmt: skip
        saver.finish()
        assert names(tmp_path) == ["step_3"]
        assert saver.write_seconds is not None
        assert saver.write_seconds > 0


@pytest.mark.parametrize("failing", ["write_probe", "write_json", "write_manifest", "publish"])
def test_a_save_that_fails_leaves_the_old_checkpoint_and_the_next_one_is_whole(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    directory = tmp_path / "step_000003"

    def attempts() -> list[int]:
        return [json.loads((found / "trainer" / "state.json").read_text())["attempt"] for found in found_there()]

    def found_there() -> list[Path]:
        return complete_checkpoints(tmp_path, KEY)

    with new_saver(learner) as saver:
        saver.save(directory, {"attempt": 1})
        saver.finish()
        with monkeypatch.context() as patched:
            patched.setattr(saving, failing, no_space)
            saver.save(directory, {"attempt": 2})
            with pytest.raises(MistakeError, match=r"step_000003 could not be written .*No space.* GB are free there"):
                saver.finish()
        assert attempts() == [1]
        saver.save(directory, {"attempt": 3})
    assert attempts() == [3]
    assert names(tmp_path) == ["step_000003"]


def no_space(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_at_the_next_save(learner: Learner, tmp_path: Path) -> None:
    saver = new_saver(learner)
    saver.save(tmp_path / "step_1", {})
    saver.finish()
    with no_file_may_grow():
        saver.save(tmp_path / "step_2", {})
        with pytest.raises(MistakeError, match=r"step_2 could not be written \(rank 0: .*see to the disk"):
            saver.save(tmp_path / "step_3", {})
    assert names(tmp_path) == ["step_1", "step_2.partial"]


def test_a_training_that_ends_otherwise_still_ends_so_and_its_failed_save_is_told(
    saver: CheckpointSaver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train_until_a_guard_stops() -> None:
        with no_file_may_grow(), saver:
            saver.save(tmp_path / "step_1", {})
            raise GuardStop("collapse")

    with pytest.raises(GuardStop, match="collapse"):
        train_until_a_guard_stops()
    assert "error: " in (said := capsys.readouterr().err)
    assert "step_1 could not be written" in said


def test_a_fault_of_the_program_is_not_told_as_one_of_the_disk(
    saver: CheckpointSaver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "write_probe", lambda *_: {}["nothing"])
    saver.save(tmp_path / "step_1", {})
    with pytest.raises(RuntimeError, match=r"step_1: (.|\n)*_complete(.|\n)*KeyError"):
        saver.finish()


def test_too_little_space_is_told_before_anything_is_written(
    saver: CheckpointSaver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = saving.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(MistakeError, match=r"needs .* GB and 0\.0 GB are free"), saver:
        saver.save(tmp_path / "step_000003", {"step": 3})
    assert names(tmp_path) == []
