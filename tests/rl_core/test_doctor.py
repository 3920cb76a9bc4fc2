import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl_core.config import RecipeConfig, load_config
from rl_core.config.models import LoraConfig
from rl_core.doctor import devices as devices_module
from rl_core.doctor import packages as packages_module
from rl_core.doctor.credentials import credentials
from rl_core.doctor.devices import Gpu, devices, driver_devices
from rl_core.doctor.disk import disk, needed_bytes
from rl_core.doctor.finding import Finding, Status
from rl_core.doctor.packages import packages
from rl_core.errors import EXIT_MISTAKE
from rl_core.manifest import publishing
from rl_core.run_dir import RunDir
from tests.hub_server import Hub

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = "http://127.0.0.1:9"  # discard(9): nobody listens
WEIGHTS = b"w" * 3000
ON_HUB = (
    "policy.model_name=org/model",
    "data.train={source: hub, repo_id: org/problems, file: train.json}",
)
Doctor = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def doctor(hub: Hub, tmp_path: Path) -> Doctor:
    """Runs the command; its exit code, its findings by check, and its message."""

    def run(*overrides: str, **environment: str) -> tuple[int, dict[str, Any], str]:
        command = [sys.executable, "-m", "rl_core", "doctor", "--json", "--run-dir", str(tmp_path / "run"), *overrides]
        env = {**hub.environment(tmp_path / "hub"), **environment}
        done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout)["findings"] if done.stdout else []
        return done.returncode, {one["check"]: one for one in found}, done.stderr

    return run


@pytest.fixture
def filled(hub: Hub) -> Hub:
    """A hub with a model and a data set."""
    hub.commit("org/model", {"config.json": b"{}", "model.safetensors": WEIGHTS, "notes.md": b"x" * 999})
    hub.commit("org/problems", {"train.json": b"[]"})
    return hub


def test_the_embedded_recipe_needs_nothing_and_torch_is_not_imported(tmp_path: Path) -> None:
    script = "import sys; from rl_core.__main__ import main; print(main(['doctor']), 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines()[-1:], done.stderr) == (["0 False"], "")
    assert "A run of embedded here" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_a_hub_holds_is_found_with_its_commit_and_size(filled: Hub, doctor: Doctor) -> None:
    code, found, message = doctor(*ON_HUB, "rollout.engine=transformers")
    assert (code, message) == (0, "")
    commit = filled.repositories["org/model"].branches["main"]
    assert found["model"]["found"].startswith(f"org/model at {commit[:12]}, 0.0 GB of weights")
    assert found["data.train"]["status"] == "ok"
    assert found["devices"]["status"] == "warning"
    assert not [request for request in filled.requests if request.startswith("GET") and "/resolve/" in request]


def test_a_critic_of_a_hub_is_asked_for_until_the_run_has_it(filled: Hub, doctor: Doctor, tmp_path: Path) -> None:
    critic = ("algorithm.baseline=critic", "algorithm.scale=none", "critic.model_name=org/model")
    _, found, _ = doctor(*critic)
    assert found["model"]["found"].startswith("org/model at ")
    code, found, _ = doctor(*critic, "critic.revision=v9")
    assert code == EXIT_MISTAKE
    assert found["model"]["found"].startswith("critic.revision is 'v9': org/model on ")
    run = RunDir(tmp_path / "run", load_config(overrides=critic))
    with publishing(run.critic, key=run.keys.critic()) as partial:
        (partial / "file").touch()
    assert "model" not in doctor(*critic)[1]


def test_everything_that_would_stop_a_run_is_told_at_once(filled: Hub, doctor: Doctor) -> None:
    filled.repositories["org/model"].gated = True
    filled.commit("org/problems", {"other.json": b"[]"})
    code, found, message = doctor(
        *ON_HUB, "rollout.engine=transformers", "tracking.wandb=online", NETRC="/nonexistent", WANDB_BASE_URL=NOBODY
    )
    assert code == EXIT_MISTAKE
    assert message.endswith(": files, settings, model, data.train, Weights & Biases\n")
    assert {check for check, one in found.items() if one["status"] == "stop"} == {
        *("files, settings", "model", "data.train", "Weights & Biases"),
    }
    assert "HF_TOKEN" in found["model"]["found"]
    assert "train.json" in found["data.train"]["found"]


def test_a_hub_that_does_not_answer_is_told_in_one_message(doctor: Doctor) -> None:
    code, found, message = doctor(*ON_HUB, HF_ENDPOINT=NOBODY)
    assert (code, "Traceback" in message) == (EXIT_MISTAKE, False)
    assert found["model"]["status"] == found["data.train"]["status"] == "stop"
    assert "HF_ENDPOINT" in found["model"]["do"]


def test_what_is_in_the_cache_needs_no_hub(filled: Hub, doctor: Doctor, tmp_path: Path) -> None:
    script = "from huggingface_hub import hf_hub_download; hf_hub_download('org/model', 'config.json')"
    environment = filled.environment(tmp_path / "hub")
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
    code, found, _ = doctor(ON_HUB[0], HF_ENDPOINT=NOBODY)
    assert (code, found["model"]["status"]) == (0, "ok")
    assert "in the local cache" in found["model"]["found"]


def test_a_folder_of_another_recipe_and_a_missing_file_are_told(doctor: Doctor, tmp_path: Path) -> None:
    code, found, message = doctor(f"data.test={{source: path, path: {tmp_path / 'absent.json'}}}")
    assert (code, found["files, settings"]["status"]) == (EXIT_MISTAKE, "stop")
    assert "absent.json" in found["files, settings"]["found"]
    assert "files, settings" in message


def test_a_mistake_in_the_recipe_is_told_as_everywhere(doctor: Doctor) -> None:
    code, found, message = doctor("stages.0.stepz=1")
    assert (code, found) == (EXIT_MISTAKE, {})
    assert "stepz" in message


def test_room_for_what_a_run_keeps_is_estimated_from_the_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = recipe("policy.model_name=org/model", "checkpoint.keep_last=2")
    # 1,000 parameters of 2 bytes: the download and its copy, and in each of 3 stages 2 checkpoints of 12 bytes and one
    # converted model, and the checkpoint that is being written
    assert needed_bytes(config, 2000) == 2 * 2000 + 3 * (2 * 12_000 + 2000) + 12_000
    adapter = config.model_copy(update={"policy": config.policy.model_copy(update={"lora": LoraConfig()})})
    assert needed_bytes(adapter, 2000) == 2 * 2000 + 3 * 2000
    assert needed_bytes(config, None) is None
    statuses = []
    for free in (93_000, 95_000, 190_000):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free, total=free))
        statuses += [one.status for one in disk(RunDir(tmp_path / "a" / "b", config), 2000)]
    assert statuses == [Status.STOP, Status.WARNING, Status.OK]


ADAPTERS = "policy.lora={}"
CRITIC = ("algorithm.baseline=critic", "algorithm.scale=none")
TRAINED_REWARD = "rewards=[{name: reward_model, kwargs: {model: trained}}]"
SFT = "sft={data: {source: path, path: answers.jsonl}%s}"


@pytest.mark.parametrize(
    ("overrides", "trainings", "in_checkpoints", "being_written"),
    [
        ((), 1, 1, 1),
        ((*CRITIC, "critic={}"), 1, 2, 2),
        ((*CRITIC, "critic={lora: {}}"), 1, 1, 1),
        ((*CRITIC, "critic={backbone: policy_hidden}"), 1, 1, 1),
        ((*CRITIC, "critic={}", ADAPTERS), 1, 1, 1),
        ((ADAPTERS,), 1, 0, 0),
        ((ADAPTERS, SFT % ""), 2, 1, 1),  # all of the weights, before stages that train an adapter
        ((ADAPTERS, SFT % ", lora: {}"), 2, 0, 0),
        ((SFT % ", lora: {}",), 2, 1, 1),
        ((ADAPTERS, TRAINED_REWARD, "pairs={}", "reward_model={lora: null}"), 2, 1, 1),
        ((TRAINED_REWARD, "pairs={}", "reward_model={}"), 2, 1, 1),
        ((*CRITIC, "critic={}", SFT % ""), 2, 3, 2),  # fine-tuning has no critic
    ],
)
def test_each_training_is_counted_by_its_own_adapter(
    overrides: tuple[str, ...], trainings: int, in_checkpoints: int, being_written: int
) -> None:
    one_stage = "stages=[{name: only, steps: 1, max_response_tokens: 8}]"
    config = recipe("policy.model_name=org/model", "checkpoint.keep_last=1", one_stage, *overrides)
    # as above; a model's state is 12,000 bytes, and each training has one converted model
    assert needed_bytes(config, 2000) == 2 * 2000 + trainings * 2000 + (in_checkpoints + being_written) * 12_000


def test_a_key_is_not_shown_and_an_address_that_does_not_answer_is(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "very-secret")
    monkeypatch.setenv("WANDB_BASE_URL", NOBODY)
    silent = one_of(credentials(recipe("tracking.wandb=online")), "Weights & Biases")
    monkeypatch.setenv("WANDB_BASE_URL", hub.url)
    answering = one_of(credentials(recipe("tracking.wandb=online")), "Weights & Biases")
    assert (silent.status, answering.status) == (Status.STOP, Status.OK)
    assert "very-secret" not in str(silent) + str(answering)
    assert list(credentials(recipe())) == []


def test_packages_in_other_versions_and_absent_ones_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.status for one in packages(recipe())} == {Status.OK}
    real = packages_module._version
    monkeypatch.setattr(
        packages_module, "_version", lambda name: {"prefect": "3.8.8", "peft": None}.get(name, real(name))
    )
    found = list(packages(recipe()))
    assert [one.found for one in found if one.status is Status.STOP] == [
        "not installed: peft",
        "in other versions than were tried: prefect 3.8.8 (wants ==3.7.7)",
    ]


def test_without_torch_stages_must_be_started_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages_module, "_version", lambda _: None)
    monkeypatch.delenv("RL_CORE_COMMAND", raising=False)
    assert [one.status for one in packages(recipe())] == [Status.STOP]
    monkeypatch.setenv("RL_CORE_COMMAND", "/opt/trainer/bin/python -m rl_core")
    assert [one.status for one in packages(recipe())] == [Status.OK]


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose driver lists two devices, one of them in use; torch here sees none."""
    rows = "0, NVIDIA H100 80GB HBM3, 81559, 0, 580.95.05\n1, NVIDIA H100 80GB HBM3, 81559, 40960, 580.95.05\n"
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{rows}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(devices_module, "has_accelerator", lambda: True)


@pytest.mark.usefixtures("two_gpus")
def test_devices_are_those_of_the_driver_and_a_torch_that_sees_none_is_told() -> None:
    assert driver_devices()[1] == Gpu("1", "NVIDIA H100 80GB HBM3", 81559, 40960, "580.95.05")
    found = [(one.check, one.status) for one in devices(recipe())]
    assert found[:2] == [("devices", Status.OK), ("devices", Status.WARNING)]
    assert ("torch", Status.STOP) in found


@pytest.mark.usefixtures("two_gpus")
def test_more_processes_than_devices_and_hidden_devices_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = 'print(\'{"version": "2.13.0", "cuda": "13.0", "count": 1, "bfloat16": true}\')'
    monkeypatch.setattr(devices_module, "TORCH_SCRIPT", answer)
    found = {one.check: one for one in devices(recipe("training.num_processes=2"))}
    assert (found["torch"].status, found["processes"].status) == (Status.WARNING, Status.STOP)
    assert "1 at most" in found["processes"].do


def recipe(*overrides: str) -> RecipeConfig:
    return load_config(overrides=overrides)


def one_of(found: Iterator[Finding], check: str) -> Finding:
    (only,) = [one for one in found if one.check == check]
    return only
