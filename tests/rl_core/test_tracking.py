import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from rl_core.config import load_config
from rl_core.manifest import digest_of
from rl_core.run_dir import RunDir
from rl_core.tracking import Tracker

BLOCK = 32768
PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names resolve to nothing, here and in what wandb starts."""
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("WANDB_BASE_URL", "http://localhost:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:9")


def refuse(*_: Any, **__: Any) -> None:
    raise OSError("no network in this test")


def log(run: RunDir, steps: range) -> None:
    with Tracker(run, 1, enabled=True) as tracker:
        for step in steps:
            tracker.log({"stage": "16k", "step": step, "reward_mean": step / 10, "kl_ref_mean": None})


def stored_messages(file: Path) -> Iterator[bytes]:
    """What a .wandb file holds: a header of 7 bytes, then LevelDB's log format in blocks of 32 KiB."""
    data, place, message = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        _checksum, length, kind = struct.unpack_from("<IHB", data, place)
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield message
            message = b""


def records(file: Path) -> tuple[str, list[dict[str, float]]]:
    """The run's id and what was logged, from wandb's own file, once its process has written all of it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        stored = [wandb_internal_pb2.Record.FromString(message) for message in stored_messages(file)]
        if any(record.WhichOneof("record_type") == "exit" for record in stored):
            break
        assert time.monotonic() < deadline, f"{file} is not finished"
        time.sleep(0.05)
    (identity,) = {record.run.run_id for record in stored if record.WhichOneof("record_type") == "run"}
    history = []
    for record in stored:
        if record.WhichOneof("record_type") == "history":
            values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            history.append({name: float(value) for name, value in values.items() if not name.startswith("_")})
    return identity, history


@pytest.mark.slow
def test_offline_a_run_is_written_below_the_stage_and_resumed_under_the_same_id(tmp_path: Path) -> None:
    run = RunDir(tmp_path, load_config())
    run.stage(1).root.mkdir(parents=True)
    log(run, range(3))
    time.sleep(1.1)  # wandb names the folder by the second
    log(run, range(3, 5))
    files = sorted(run.stage(1).root.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    (first_id, first), (second_id, second) = map(records, files)
    assert first_id == second_id == digest_of([str(run.root.resolve()), run.stage_key(1)])
    assert [line["reward_mean"] for line in first + second] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert [line["step"] for line in first + second] == [0, 1, 2, 3, 4]
    assert all(set(line) == {"reward_mean", "step"} for line in first + second)


def test_disabled_or_on_another_rank_nothing_is_written(tmp_path: Path) -> None:
    disabled = RunDir(tmp_path, load_config(overrides=["tracking.wandb=disabled"]))
    with Tracker(disabled, 0, enabled=True) as tracker:
        tracker.log({"step": 1, "reward_mean": 0.5})
    with Tracker(RunDir(tmp_path, load_config()), 0, enabled=False) as tracker:
        tracker.log({"step": 1, "reward_mean": 0.5})
    assert list(tmp_path.iterdir()) == []
