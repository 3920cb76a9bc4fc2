import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb.proto import wandb_internal_pb2

from rl_core.config import load_config
from rl_core.errors import MistakeError
from rl_core.run_dir import RunDir
from rl_core.tracking import Tracker, require_credentials, run_id, run_url
from tests.wandb_server import KEY, WandbServer

REPOSITORY = Path(__file__).resolve().parents[2]
AWAY = {"WANDB_BASE_URL": "http://127.0.0.1:9"}  # where nobody answers
FIGURES = "metrics.jsonl has every figure."
BLOCK = 32768
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    """Weights & Biases on loopback."""
    with WandbServer() as server:
        yield server


def train(
    run: RunDir, mode: str, stage: int, steps: range, *overrides: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Log these steps in a process of its own, as a stage does; without a proxy and without a key but the given one."""
    command = [sys.executable, "-m", "tests.rl_core.tracking_worker", str(run.root), mode, str(stage)]
    inherited = {name: value for name, value in os.environ.items() if not re.match("WANDB_|HTTPS?_PROXY", name, re.I)}
    done = subprocess.run(
        [*command, str(steps.start), str(steps.stop), *overrides],
        cwd=REPOSITORY,
        env={**inherited, **AWAY, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "trained to the end\n"), done.stderr
    return done


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
def test_offline_all_stages_are_written_below_the_run_under_one_id_and_resumed_under_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path, load_config())
    train(run, "offline", 1, range(3))
    train(run, "offline", 1, range(3, 5))
    files = sorted(run.root.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    (first_id, first), (second_id, second) = map(records, files)
    assert first_id == second_id == run_id(run)
    assert [line["reward_mean"] for line in first + second] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert [line["step"] for line in first + second] == [0, 1, 2, 3, 4]
    assert [line["recipe_step"] for line in first + second] == [25, 26, 27, 28, 29]
    assert all(set(line) == {"reward_mean", "step", "recipe_step", "stage_number"} for line in first + second)
    assert run_url(run) is None


@pytest.mark.slow
def test_online_all_stages_are_one_run_and_a_line_that_comes_again_after_a_kill_counts_once(
    tmp_path: Path, server: WandbServer
) -> None:
    run = RunDir(tmp_path, load_config())
    for stage, steps in ((0, range(4)), (0, range(2, 6)), (1, range(2))):
        assert train(run, "online", stage, steps, **server.environment()).stderr == ""
    identity = run_id(run)
    lines = server.history[identity]
    assert [line["recipe_step"] for line in lines] == [0, 1, 2, 3, 4, 5, 25, 26]
    assert [line["stage_number"] for line in lines] == [1, 1, 1, 1, 1, 1, 2, 2]
    assert [line["reward_mean"] for line in lines] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.0, 0.1]
    assert run_url(run) == f"{server.url}/someone/deepscaler-recipe/runs/{identity}"


@pytest.mark.slow
def test_the_configuration_goes_there_without_credentials(tmp_path: Path, server: WandbServer) -> None:
    (tmp_path / "mine.py").write_text("def score(samples):\n    return [0.0 for _ in samples]\n")
    kwargs = "{api_key: anotherone, note: with hf_averysecretone, judge: 'https://me:onemore@judge.example'}"
    rewards = f"rewards=[{{name: mine, file: {tmp_path / 'mine.py'}, kwargs: {kwargs}}}]"
    environment = {**server.environment(), "HF_TOKEN": "hf_averysecretone"}
    train(RunDir(tmp_path, load_config()), "online", 0, range(1), rewards, **environment)
    sent = "\n".join(server.bodies)
    assert "judge.example" in sent
    assert [secret for secret in ("hf_averysecretone", "anotherone", "onemore") if secret in sent] == []


@pytest.mark.slow
def test_a_server_that_refuses_is_told_once_and_the_run_is_written_offline(tmp_path: Path) -> None:
    run = RunDir(tmp_path, load_config())
    (told,) = train(run, "online", 0, range(10), WANDB_API_KEY=KEY, INIT_SECONDS="3").stderr.splitlines()
    assert told.startswith("WARNING Weights & Biases did not start: ")
    assert told.endswith(" It is written offline instead, for `wandb sync`. The training goes on; " + FIGURES)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert len(records(file)[1]) == 10


@pytest.mark.slow
def test_a_service_that_dies_is_told_once_and_training_goes_on(tmp_path: Path) -> None:
    run = RunDir(tmp_path, load_config())
    (told,) = train(run, "offline", 0, range(10), KILL_SERVICE_AFTER="3").stderr.splitlines()
    assert told.startswith("WARNING Weights & Biases failed: ")
    assert told.endswith(" The training goes on; " + FIGURES)


def test_uploading_without_a_key_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example:8443")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    online, offline = load_config(overrides=["tracking.wandb=online"]), load_config()
    require_credentials(offline)
    with pytest.raises(MistakeError, match=r"tracking\.wandb is 'online', but there is no key for wandb\.example: set"):
        require_credentials(online)
    (tmp_path / "netrc").write_text(f"machine wandb.example login user password {KEY}\n")
    require_credentials(online)
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    require_credentials(online)


def test_disabled_or_on_another_rank_nothing_is_written(tmp_path: Path) -> None:
    disabled = RunDir(tmp_path, load_config(overrides=["tracking.wandb=disabled"]))
    with Tracker(disabled, 0, enabled=True) as tracker:
        tracker.log({"step": 1, "reward_mean": 0.5})
    with Tracker(RunDir(tmp_path, load_config()), 0, enabled=False) as tracker:
        tracker.log({"step": 1, "reward_mean": 0.5})
    assert list(tmp_path.iterdir()) == []
