"""Where the learned reward model comes from: a folder that is looked at, or a hub that it is fetched from once."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.errors import EXIT_MISTAKE, MistakeError
from rl_core.manifest import publishing
from rl_core.models.reward_source import local_rewards, take_reward_model
from rl_core.opening import refuse_other_recipe
from rl_core.plan import DONE, TO_DO, all_parts
from rl_core.preflight import check_inputs
from rl_core.run_dir import RunDir
from rl_core.training.launch import train_stage
from tests.hub_server import Hub
from tests.rl_core.reward_models import save_reward_model

ROOT = Path(__file__).resolve().parents[3]
REPO = "org/judge"


def rewards(model: object, **options: object) -> str:
    return "rewards=" + json.dumps([{"name": "reward_model", "kwargs": {"model": str(model), **options}}])


def run_of(tmp_path: Path, model: object, *overrides: str, **options: object) -> RunDir:
    return RunDir(tmp_path / "run", load_config(overrides=[rewards(model, **options), *overrides]))


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "it holds no readable config.json"),
    "no single score": (
        lambda folder: edit(folder / "config.json", id2label={"0": "a", "1": "b"}),
        "it has 2 labels, and a reward is one number",
    ),
    "two scores by default": (
        lambda folder: edit(folder / "config.json", id2label=None),
        "it has 2 labels, and a reward is one number",
    ),
    "a language model": (
        lambda folder: edit(folder / "config.json", architectures=["Qwen2ForCausalLM"]),
        "its config.json says it is Qwen2ForCausalLM, not a model ForSequenceClassification",
    ),
    "no chat template": (lambda folder: (folder / "chat_template.jinja").unlink(), "it has no chat template"),
    "pickled": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        r"holds no model\.safetensors\. Weights must be safetensors",
    ),
    "an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "it is an adapter: merge it"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_folder_that_is_no_reward_model_is_refused_before_anything_starts(tmp_path: Path, case: str) -> None:
    folder = save_reward_model(tmp_path / "judge")
    check_inputs(run_of(tmp_path, folder))
    spoil, reason = BROKEN[case]
    spoil(folder)
    with pytest.raises(MistakeError, match=reason) as refused:
        check_inputs(run_of(tmp_path, folder))
    assert str(refused.value).startswith(f"rewards: reward_model: model is '{folder}': ")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_there_and_options_that_do_not_fit_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match=r"reward_model: model is '.*absent': no such folder"):
        check_inputs(run_of(tmp_path, tmp_path / "absent"))
    folder = save_reward_model(tmp_path / "judge")
    with pytest.raises(MistakeError, match=r"max_tokens is 129, but the context of .* is 128"):
        check_inputs(run_of(tmp_path, folder, max_tokens=129))
    with pytest.raises(MistakeError, match="revision does nothing for a model in a folder"):
        check_inputs(run_of(tmp_path, folder, revision="v1"))
    check_inputs(run_of(tmp_path, "org/on-the-hub", revision="v1"))


def test_a_template_that_refuses_the_recipes_conversations_is_told_by_the_first_stage_that_can_ask_it(
    tmp_path: Path,
) -> None:
    folder = save_reward_model(tmp_path / "judge")
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}x"
    (folder / "chat_template.jinja").write_text(refusing)
    take_reward_model(run_of(tmp_path, folder))
    with pytest.raises(MistakeError, match="chat template fails on a conversation: no system turn"):
        take_reward_model(run_of(tmp_path, folder, "data.system_prompt=Be brief"))


def test_a_model_in_a_folder_is_read_where_it_is_and_is_no_part_of_the_run(tmp_path: Path) -> None:
    run = run_of(tmp_path, save_reward_model(tmp_path / "judge"))
    take_reward_model(run)
    assert local_rewards(run) == list(run.config.rewards)
    assert "reward model" not in [part.name for part in all_parts(run)]
    assert not run.reward_model.exists()


def test_a_model_of_the_hub_is_a_part_of_the_run_with_its_revision(tmp_path: Path) -> None:
    run = run_of(tmp_path, REPO)
    part = next(part for part in all_parts(run) if part.name == "reward model")
    assert (part.path, part.state) == (run.reward_model, TO_DO)
    for folder, key in ((run.data, run.keys.data()), (run.base, run.keys.base())):
        with publishing(folder, key=key) as partial:
            (partial / "file").touch()
    with pytest.raises(MistakeError, match="does not hold the reward model: run `python -m rl_core warm-up` first"):
        train_stage(run, 0)
    with publishing(run.reward_model, key=run.keys.reward_model()) as partial:
        save_reward_model(partial)
    assert next(part for part in all_parts(run) if part.name == "reward model").state == DONE
    assert [reward.kwargs for reward in local_rewards(run)] == [{"model": str(run.reward_model)}]
    assert local_rewards(run)[0].weight == 1.0
    with pytest.raises(MistakeError, match="holds parts of another recipe: reward model"):
        refuse_other_recipe(run_of(tmp_path, REPO, revision="v2"))


def warm_up(hub: Hub, tmp_path: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    """The stage in a process of its own: HF_ENDPOINT is read at import. It ends behind the reward model."""
    command = [sys.executable, "-m", "rl_core", "warm-up", "--run-dir", str(tmp_path / "run")]
    environment = {**hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "policy.model_name=./no-policy", *overrides],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_model_of_the_hub_is_fetched_once_with_the_first_policy_and_its_commit_noted(
    hub: Hub, tmp_path: Path
) -> None:
    files = {file.name: file.read_bytes() for file in save_reward_model(tmp_path / "judge").iterdir()}
    commit = hub.commit(REPO, files, branch="v1")
    run = run_of(tmp_path, REPO, revision="v1")
    assert "./no-policy" in warm_up(hub, tmp_path, rewards(REPO, revision="v1")).stderr
    assert json.loads((run.reward_model / "source.json").read_text()) == {
        "model_name": REPO, "revision": "v1", "commit": commit,
    }  # fmt: skip
    assert (run.reward_model / "model.safetensors").read_bytes() == files["model.safetensors"]
    hub.requests.clear()
    hub.repositories.clear()
    assert "reward model: already there" in warm_up(hub, tmp_path, rewards(REPO, revision="v1")).stdout
    assert [request for request in hub.requests if REPO in request] == []


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        (REPO, {"revision": "v9"}, "rewards: reward_model: revision is 'v9': org/judge on http://127.0.0.1"),
        ("org/missing", {}, "rewards: reward_model: model is 'org/missing': no such model on http://127.0.0.1"),
        ("org/labels", {}, "rewards: reward_model: model is 'org/labels': it has 3 labels"),
        ("./absent", {}, "rewards: reward_model: model is './absent': no such folder"),
    ],
)
def test_what_the_hub_does_not_have_is_the_persons_mistake_told_before_weights_are_fetched(
    hub: Hub, tmp_path: Path, model: str, options: dict[str, str], expected: str
) -> None:
    for repo, labels in ((REPO, 1), ("org/labels", 3)):
        folder = save_reward_model(tmp_path / repo.partition("/")[2], num_labels=labels)
        hub.commit(repo, {file.name: file.read_bytes() for file in folder.iterdir()})
    done = warm_up(hub, tmp_path, rewards(model, **options))
    assert done.returncode == EXIT_MISTAKE, done.stderr
    message = done.stderr.partition("error: ")[2]
    assert message.startswith(expected)
    assert message.count("\n") == 1
    assert [request for request in hub.requests if "safetensors" in request] == []
    assert not (tmp_path / "run" / "reward_model").exists()
