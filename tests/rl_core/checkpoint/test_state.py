"""Finding and pruning checkpoints. Writing is tested by `test_saving`, restoring by `training/test_zero_stages`."""

from pathlib import Path

import pytest

from rl_core.checkpoint.state import complete_checkpoints, prune_checkpoints
from rl_core.errors import MistakeError
from rl_core.manifest import MANIFEST, publishing


def make(folder: Path, *names: str, key: str = "key") -> None:
    for name in names:
        with publishing(folder / name, key=key) as partial:
            (partial / "file").write_text("content")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_complete_checkpoints_are_found_oldest_first_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, "step_000030", "step_000010", "step_000020", "step_000005")
    (tmp_path / "step_000020" / "file").unlink()
    (tmp_path / "step_000005" / MANIFEST).unlink()
    # Killed between writing the manifest and giving the folder its name; killed while replacing a folder.
    make(tmp_path, "step_000040.partial", "step_000030.discarded")
    found = complete_checkpoints(tmp_path, "key")
    assert [path.name for path in found] == ["step_000010", "step_000030"]
    assert complete_checkpoints(tmp_path / "nothing", "key") == []


def test_a_checkpoint_of_other_settings_is_never_continued(tmp_path: Path) -> None:
    make(tmp_path, "step_000010")
    with pytest.raises(MistakeError, match=r"step_000010 was made with other settings"):
        complete_checkpoints(tmp_path, "another key")


@pytest.mark.parametrize(("keep", "kept"), [(1, ["step_000030"]), (2, ["step_000010", "step_000030"])])
def test_pruning_keeps_the_newest_complete_ones_and_removes_every_leftover(
    tmp_path: Path, keep: int, kept: list[str]
) -> None:
    make(tmp_path, "step_000005", "step_000010", "step_000020", "step_000030", "step_000035.partial")
    (tmp_path / "step_000020" / "file").unlink()  # a removal that was interrupted
    (tmp_path / "step_000010.discarded").mkdir()
    prune_checkpoints(tmp_path, "key", keep)
    assert names(tmp_path) == kept
