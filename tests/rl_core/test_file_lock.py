import threading
from pathlib import Path

import pytest

from rl_core import file_lock as module
from rl_core.file_lock import file_lock


def test_who_waited_for_a_file_that_was_removed_locks_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    file, waits, inodes = tmp_path / "lock", threading.Event(), []
    monkeypatch.setattr(module.time, "sleep", lambda _: waits.set())

    def second() -> None:
        with file_lock(file, holder="second", wanted="it", remove=True):
            inodes.append(file.stat().st_ino)
            assert file.read_text().startswith("second, process")

    thread = threading.Thread(target=second)
    with file_lock(file, holder="first", wanted="it", remove=True):
        thread.start()
        assert waits.wait(60)
    thread.join()
    assert len(inodes) == 1, "it had the file that others would find"
    assert not file.exists()
    assert capsys.readouterr().out.startswith("waiting for it, which has: first, process ")
