"""A model by its name on ModelScope, from a server on loopback."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl_core.config import load_config
from rl_core.errors import MistakeError
from rl_core.manifest import read_json
from rl_core.models.base import make_base_model
from rl_core.run_dir import RunDir
from tests.modelscope_server import TOKEN, ModelScope

REPO = "org/tiny"
ROOT = Path(__file__).resolve().parents[3]
NOT_THE_MODEL = {"README.md": b"A model", "pytorch_model.bin": b"pickled", "onnx/config.json": b"{}"}


@pytest.fixture
def files(own_model: Path) -> dict[str, bytes]:
    """A repository: the model, and what lies beside it."""
    return {file.name: file.read_bytes() for file in own_model.iterdir()} | NOT_THE_MODEL


@pytest.fixture(autouse=True)
def client(modelscope: ModelScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as a client of the server."""
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    for name, value in modelscope.environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)


def overrides(*more: str) -> list[str]:
    return [f"policy.model_name={REPO}", "policy.hub=modelscope", "policy.revision=master", *more]


def fetched(root: Path, *more: str) -> RunDir:
    run = RunDir(root, load_config(overrides=overrides(*more)))
    make_base_model(run)
    return run


def refused(tmp_path: Path, *more: str) -> str:
    with pytest.raises(MistakeError) as mistake:
        fetched(tmp_path / "run", *more)
    assert not (tmp_path / "run" / "base").exists()
    return str(mistake.value)


def of_weights(modelscope: ModelScope) -> list[str]:
    return [request for request in modelscope.requests if "safetensors" in request]


def test_a_model_is_fetched_at_a_known_commit_and_loads_by_path_alone(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path
) -> None:
    modelscope.commit(REPO, {"config.json": files["config.json"]}, branch="master")
    commit = modelscope.commit(REPO, files, branch="master")
    run = fetched(tmp_path / "run")
    assert read_json(run.base / "source.json") == {
        "hub": "modelscope", "model_name": REPO, "revision": "master", "commit": commit,
    }  # fmt: skip
    assert {file.name for file in run.base.iterdir()} == {
        "chat_template.jinja", "config.json", "generation_config.json", "manifest.json", "model.safetensors",
        "source.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert (run.base / "model.safetensors").read_bytes() == files["model.safetensors"]
    AutoModelForCausalLM.from_pretrained(run.base)
    AutoTokenizer.from_pretrained(run.base)
    asked = [request for request in modelscope.requests if request.startswith("GET /api/v1/models/org/tiny/repo?")]
    assert all(f"Revision={commit}" in request for request in asked)
    assert len(asked) == 6


def test_another_run_fetches_no_file_again_and_at_a_commit_needs_no_hub(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path
) -> None:
    commit = modelscope.commit(REPO, files, branch="master")
    first = fetched(tmp_path / "first")
    modelscope.requests.clear()
    fetched(tmp_path / "second")
    assert modelscope.requests == [f"GET /api/v1/models/{REPO}/repo/files?Revision=master&Recursive=False"]
    modelscope.repositories.clear()
    modelscope.requests.clear()
    third = fetched(tmp_path / "third", f"policy.revision={commit}")
    assert modelscope.requests == []
    assert (third.base / "model.safetensors").read_bytes() == (first.base / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["policy.model_name=org/missing"], "policy.model_name is 'org/missing': no such model on http://127.0.0.1"),
        (["policy.model_name=not/a/name"], "policy.model_name is 'not/a/name': no name of a repository"),
        (["policy.model_name=org/gated"], "policy.model_name is 'org/gated': the hub refused (403) on http://127.0.0"),
        (["policy.model_name=org/data"], "policy.model_name is 'org/data': holds no config.json at revision master"),
        (["policy.revision=main"], "policy.revision is 'main': org/tiny on http://127.0.0.1"),
        (["policy.model_name=org/pickled"], "policy.model_name is 'org/pickled': holds no model.safetensors. Weights"),
    ],
)
def test_what_the_hub_does_not_have_is_the_persons_mistake(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path, more: list[str], expected: str
) -> None:
    modelscope.commit(REPO, files, branch="master")
    modelscope.commit("org/data", {"train.json": b"[]"}, branch="master")
    pickled = {name: files[name] for name in files if name != "model.safetensors"}
    modelscope.commit("org/pickled", pickled, branch="master")
    modelscope.commit("org/gated", files, branch="master")
    modelscope.repositories["org/gated"].gated = True
    message = refused(tmp_path, *more)
    assert message.startswith(expected)
    assert "\n" not in message


def test_messages_say_what_can_be_done(modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path) -> None:
    modelscope.commit(REPO, files, branch="master")
    assert "(MODELSCOPE_ENDPOINT), or a private one: check the name, or set MODELSCOPE_API_TOKEN" in refused(
        tmp_path, "policy.model_name=org/missing"
    )
    assert "ModelScope's own default is master" in refused(tmp_path, "policy.revision=main")


def test_a_token_opens_what_is_closed_and_goes_to_no_other_host(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelscope.commit(REPO, files, branch="master")
    modelscope.repositories[REPO].gated = True
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    fetched(tmp_path / "run")
    of_hub = [found for found in modelscope.credentials if found[0].startswith("/api/")]
    elsewhere = [found for found in modelscope.credentials if found[0].startswith("/elsewhere/")]
    assert {found[1:] for found in of_hub} == {(f"Bearer {TOKEN}", f"m_session_id={TOKEN}")}
    assert {found[1:] for found in elsewhere} == {("", "")}


def test_a_stage_longer_than_the_models_context_is_known_before_the_weights_are_fetched(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path
) -> None:
    modelscope.commit(REPO, files, branch="master")
    assert "but the context of org/tiny is 200" in refused(tmp_path, "stages.2.max_response_tokens=137")
    assert of_weights(modelscope) == []


@pytest.mark.parametrize("failing", ["GET*/repo/files*", "GET*config.json"])
def test_a_hub_that_fails_is_no_mistake_so_that_the_stage_is_retried(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path, failing: str
) -> None:
    modelscope.commit(REPO, files, branch="master")
    modelscope.failures += [(failing, 503)]
    with pytest.raises(
        ConnectionError, match=r"policy\.model_name is 'org/tiny': could not be fetched on http.*'503 Serv"
    ):
        fetched(tmp_path / "run")
    fetched(tmp_path / "run")


def test_a_server_that_is_not_there_or_is_no_modelscope_is_told(
    modelscope: ModelScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelscope.odd = b'{"Data": []}'
    with pytest.raises(ConnectionError, match=r"its answer is not ModelScope's"):
        fetched(tmp_path / "run")
    modelscope.odd = b"<html>"
    with pytest.raises(ConnectionError, match=r"could not be fetched"):
        fetched(tmp_path / "run")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"could not be fetched on http://127\.0\.0\.1:9 \(MODELSCOPE_ENDPOINT\)"):
        fetched(tmp_path / "run")


def test_a_file_that_is_not_what_the_hub_lists_is_not_taken(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path
) -> None:
    modelscope.commit(REPO, files, branch="master")
    modelscope.lies["model.safetensors"] = b"other weights"
    with pytest.raises(ConnectionError, match=r"model\.safetensors came with another digest than the hub names"):
        fetched(tmp_path / "run")
    modelscope.lies.clear()
    assert (fetched(tmp_path / "run").base / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_killed_half_way_the_same_command_goes_on_where_it_stopped(
    modelscope: ModelScope, files: dict[str, bytes], tmp_path: Path
) -> None:
    modelscope.commit(REPO, files, branch="master")
    modelscope.stall, modelscope.stalling = Event(), "model.safetensors"
    command = [sys.executable, "-m", "rl_core", "warm-up", "--run-dir", str(tmp_path / "run"), *overrides()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    assert modelscope.stalled.wait(60)
    _wait_for_bytes(tmp_path / "cache")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    modelscope.stall.set()
    modelscope.stall = None
    run = fetched(tmp_path / "run")
    assert (run.base / "model.safetensors").read_bytes() == files["model.safetensors"]
    (started,) = modelscope.ranges
    assert 0 < int(started.removeprefix("bytes=").removesuffix("-")) <= len(files["model.safetensors"]) // 2


def _wait_for_bytes(cache: Path) -> None:
    """Until some of the file that stalls is on disk."""
    for _ in range(600):
        if any(file.stat().st_size for file in cache.rglob("partial")):
            return
        Event().wait(0.1)
    raise AssertionError("nothing was written")
