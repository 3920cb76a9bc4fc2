"""Where a model of the critic's own comes from: a folder that is looked at, or a hub that it is fetched from once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
import torch
from safetensors.torch import load_file

from rl_core.config import load_config
from rl_core.errors import EXIT_MISTAKE, MistakeError
from rl_core.manifest import publishing, read_json, read_manifest
from rl_core.models.base import make_base_model
from rl_core.models.critic_source import critic_folder
from rl_core.models.token_values import load_token_values
from rl_core.opening import refuse_other_recipe
from rl_core.plan import DONE, TO_DO, all_parts
from rl_core.preflight import check_inputs
from rl_core.run_dir import RunDir
from rl_core.training.launch import train_stage
from tests.hub_server import Hub
from tests.modelscope_server import ModelScope
from tests.rl_core.models.critics import CRITIC, edit, save_critic

ROOT = Path(__file__).resolve().parents[3]
REPO = "org/values"


def run_of(root: Path, policy: object, *overrides: str) -> RunDir:
    return RunDir(root, load_config(overrides=[*CRITIC, f"policy.model_name={policy}", *overrides]))


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_folder_is_looked_at_before_anything_starts(tmp_path: Path, own_model: Path) -> None:
    critic = f"critic.model_name={save_critic(tmp_path / 'critic', context_tokens=160)}"
    check_inputs(run_of(tmp_path / "run", own_model, critic))
    with pytest.raises(MistakeError, match=r"critic\.model_name is .*/critic': its context is 160 .*stages\.2 has 161"):
        check_inputs(run_of(tmp_path / "run", own_model, critic, "stages.2.max_response_tokens=97"))
    for option in ("revision=v1", "hub=modelscope"):
        with pytest.raises(MistakeError, match=r"critic\.(revision|hub) does nothing for a model in a folder: remove"):
            check_inputs(run_of(tmp_path / "run", own_model, critic, f"critic.{option}"))
    check_inputs(run_of(tmp_path / "run", "org/policy", critic))
    assert not (tmp_path / "run").exists()


def test_what_is_on_a_hub_is_not_asked_for_before_a_run(tmp_path: Path, own_model: Path) -> None:
    check_inputs(run_of(tmp_path / "run", own_model, f"critic.model_name={REPO}", "critic.revision=v1"))
    with pytest.raises(MistakeError, match=r"critic\.model_name is 'embedded': null takes the model that the policy"):
        check_inputs(run_of(tmp_path / "run", own_model, "critic.model_name=embedded"))
    with pytest.raises(MistakeError, match=r"critic\.model_name is '\./absent': no such folder"):
        check_inputs(run_of(tmp_path / "run", own_model, "critic.model_name=./absent"))


def test_a_model_in_a_folder_is_read_where_it_is_and_is_no_part_of_the_run(tmp_path: Path, own_model: Path) -> None:
    critic = save_critic(tmp_path / "critic")
    run = run_of(tmp_path / "run", own_model, f"critic.model_name={critic}")
    make_base_model(run)
    assert critic_folder(run) == critic
    assert "critic" not in [part.name for part in all_parts(run)]
    assert not run.critic.exists()
    null = run_of(tmp_path / "run", own_model, "critic={}")
    assert critic_folder(null) == null.base


def test_a_critic_that_is_named_when_the_first_policy_is_done_is_looked_at_too(tmp_path: Path, own_model: Path) -> None:
    make_base_model(run_of(tmp_path / "run", own_model, "critic={}"))
    critic = save_critic(tmp_path / "critic")
    edit(critic / "config.json", vocab_size=100)
    run = run_of(tmp_path / "run", own_model, f"critic.model_name={critic}")
    with pytest.raises(MistakeError, match="it has embeddings for 100 tokens"):
        make_base_model(run)
    with publishing(run.data, key=run.keys.data()) as partial:
        (partial / "file").touch()
    with pytest.raises(MistakeError, match="it has embeddings for 100 tokens"):
        train_stage(run, 0)


def test_a_model_of_the_hub_is_a_part_of_the_run_with_its_revision(tmp_path: Path, own_model: Path) -> None:
    critic = f"critic.model_name={REPO}"
    run = run_of(tmp_path / "run", own_model, critic)
    names = [part.name for part in all_parts(run)]
    assert names.index("critic") + 1 == names.index("base model")
    part = all_parts(run)[names.index("critic")]
    assert (part.path, part.state) == (run.critic, TO_DO)
    for folder, key in ((run.data, run.keys.data()), (run.base, run.keys.base())):
        with publishing(folder, key=key) as partial:
            (partial / "file").touch()
    with pytest.raises(MistakeError, match="does not hold the critic's model: run `python -m rl_core warm-up` first"):
        train_stage(run, 0)
    with publishing(run.critic, key=run.keys.critic()) as partial:
        save_critic(partial)
    assert all_parts(run)[names.index("critic")].state == DONE
    for other in ("critic.revision=v2", "critic.hub=modelscope"):
        changed = run_of(tmp_path / "run", own_model, critic, other)
        assert changed.keys.stage(0) != run.keys.stage(0)
        with pytest.raises(MistakeError, match="holds parts of another recipe: critic"):
            refuse_other_recipe(changed)


def command(tmp_path: Path, policy: Path, *overrides: str) -> list[str]:
    stage = [sys.executable, "-m", "rl_core", "warm-up", "--run-dir", str(tmp_path / "run")]
    return [*stage, *CRITIC, f"policy.model_name={policy}", f"critic.model_name={REPO}", *overrides]


def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return {**hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def warm_up(hub: Hub, tmp_path: Path, policy: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    """The stage in a process of its own: HF_ENDPOINT is read at import."""
    return subprocess.run(
        command(tmp_path, policy, *overrides),
        env=environment(hub, tmp_path), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_model_of_the_hub_is_fetched_once_with_its_commit_noted_and_becomes_the_critic(
    hub: Hub, tmp_path: Path, own_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = files_of(save_critic(tmp_path / "critic"))
    commit = hub.commit(REPO, files, branch="v1")
    hub.commit(REPO, {"config.json": b"{}"})
    done = warm_up(hub, tmp_path, own_model, "critic.revision=v1")
    assert done.returncode == 0, done.stderr
    run = run_of(tmp_path / "run", own_model, f"critic.model_name={REPO}", "critic.revision=v1")
    assert read_json(run.critic / "source.json") == {"model_name": REPO, "revision": "v1", "commit": commit}
    assert (read_manifest(run.critic) or {})["source"] == REPO
    assert {part.state for part in all_parts(run) if part.name in ("critic", "base model")} == {DONE}
    assert critic_folder(run) == run.critic
    values = load_token_values(critic_folder(run), run.config.policy, torch.device("cpu"))
    weights = values.token_classifier.base_model.state_dict()
    for name, tensor in load_file(tmp_path / "critic" / "model.safetensors").items():
        assert torch.equal(weights[name.removeprefix("model.")], tensor)
    make_base_model(run)  # of this process, for which there is no such hub
    assert "critic: already there" in capsys.readouterr().out
    shutil.rmtree(run.base)
    make_base_model(run)
    assert "critic: already there" in capsys.readouterr().out
    assert read_manifest(run.base) is not None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("critic.revision=v9", "critic.revision is 'v9': org/values on http://127.0.0.1"),
        ("critic.model_name=org/opt", "critic.model_name: no critic can be made of org/opt, a model of type opt"),
    ],
)
def test_what_cannot_be_the_critic_is_the_persons_mistake_told_before_weights_are_fetched(
    hub: Hub, tmp_path: Path, own_model: Path, override: str, expected: str
) -> None:
    files = files_of(save_critic(tmp_path / "critic"))
    hub.commit(REPO, files)
    hub.commit("org/opt", {**files, "config.json": json.dumps({"model_type": "opt"}).encode()})
    done = warm_up(hub, tmp_path, own_model, override)
    assert done.returncode == EXIT_MISTAKE, done.stderr
    message = done.stderr.partition("error: ")[2]
    assert message.startswith(expected)
    assert message.count("\n") == 1
    assert [request for request in hub.requests if "safetensors" in request] == []
    assert not (tmp_path / "run" / "critic").exists()
    assert not (tmp_path / "run" / "base").exists()


def test_killed_half_way_the_same_command_finishes(hub: Hub, tmp_path: Path, own_model: Path) -> None:
    files = files_of(save_critic(tmp_path / "critic"))
    hub.commit(REPO, files)
    hub.stall, hub.stalling = Event(), "/model.safetensors"
    process = subprocess.Popen(
        command(tmp_path, own_model),
        env=environment(hub, tmp_path), stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert hub.stalled.wait(60)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    assert not (tmp_path / "run" / "critic").exists()
    hub.stall.set()
    hub.stall = None
    assert warm_up(hub, tmp_path, own_model).returncode == 0
    assert (tmp_path / "run" / "critic" / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert [folder.name for folder in (tmp_path / "run").glob("*.partial")] == []


def test_a_model_of_modelscope_is_fetched_at_a_known_commit(
    modelscope: ModelScope, tmp_path: Path, own_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in modelscope.environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    commit = modelscope.commit(REPO, files_of(save_critic(tmp_path / "critic")), branch="master")
    place = (f"critic.model_name={REPO}", "critic.hub=modelscope")
    with pytest.raises(MistakeError, match=r"critic\.revision is 'main': org/values on http://127\.0\.0\.1"):
        make_base_model(run_of(tmp_path / "run", own_model, *place))
    run = run_of(tmp_path / "run", own_model, *place, "critic.revision=master")
    make_base_model(run)
    assert read_json(run.critic / "source.json") == {
        "hub": "modelscope", "model_name": REPO, "revision": "master", "commit": commit,
    }  # fmt: skip
