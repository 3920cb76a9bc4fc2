import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl_core.cache import CACHE_VARIABLE
from rl_core.config import load_config
from rl_core.data.parquet import PromptedProblem
from rl_core.data.prepare import prepare_data
from rl_core.embedded import warm_up
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import MistakeError
from rl_core.manifest import read_manifest
from rl_core.models.base import make_base_model
from rl_core.preflight import check_inputs
from rl_core.rollout.collect import tokenize_prompts
from rl_core.run_dir import RunDir

ROOT = Path(__file__).resolve().parents[3]
SMALL = (
    "embedded.train_problems=32", "embedded.test_problems=8", "data.probe_problems=4", "embedded.clean_loss=50",
    "embedded.mixed_steps=1", "embedded.hidden_size=16", "embedded.intermediate_size=16", "rollout.num_prompts=4",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "base"


def run_of(root: Path, *overrides: str) -> RunDir:
    return RunDir(root, load_config(overrides=[*SMALL, *overrides]))


def made(root: Path, *overrides: str) -> RunDir:
    run = run_of(root, *overrides)
    prepare_data(run)
    make_base_model(run)
    return run


def manifest(folder: Path) -> dict[str, Any]:
    found = read_manifest(folder)
    assert found is not None
    return found


def test_the_embedded_model_is_made_once_and_taken_from_the_cache_afterwards(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = made(tmp_path / "first")
    assert [path.name for path in cache.iterdir()] == [first.keys.base()]
    assert "from the cache" not in capsys.readouterr().out
    second = made(tmp_path / "second")
    assert "from the cache" in capsys.readouterr().out
    assert manifest(second.base)["digest"] == manifest(first.base)["digest"]
    make_base_model(second)
    assert "already there" in capsys.readouterr().out
    shutil.rmtree(cache)
    assert manifest(made(tmp_path / "third").base)["digest"] == manifest(first.base)["digest"]


def test_another_seed_is_another_model(tmp_path: Path, cache: Path) -> None:
    made(tmp_path / "first")
    made(tmp_path / "second", "seed=1")
    assert len(list(cache.iterdir())) == 2


def test_a_folder_is_copied_without_what_is_not_the_model(tmp_path: Path, own_model: Path) -> None:
    (own_model / "optimizer.pt").write_bytes(b"not wanted")
    (own_model / "manifest.json").write_text("{}")
    (own_model / "checkpoint").mkdir()
    (own_model / "checkpoint" / "config.json").write_text("{}")
    (own_model / "adapter_model.safetensors").touch()
    run = made(tmp_path / "run", f"policy.model_name={own_model}")
    assert manifest(run.base)["source"] == str(own_model)
    assert {path.name for path in run.base.iterdir()} == {
        "chat_template.jinja", "config.json", "generation_config.json", "manifest.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    AutoModelForCausalLM.from_pretrained(run.base)
    AutoTokenizer.from_pretrained(run.base)


def test_a_chat_template_of_the_recipe_is_what_the_tokenizer_of_the_base_asks_by(
    tmp_path: Path, own_model: Path
) -> None:
    described = json.loads((own_model / "tokenizer_config.json").read_text())
    old = {**described, "chat_template": (own_model / "chat_template.jinja").read_text()}
    (own_model / "tokenizer_config.json").write_text(json.dumps(old))
    (own_model / "chat_template.jinja").unlink()
    template = "{% for message in messages %}Q: {{ message.content }}\\nA:{% endfor %}"
    run = made(tmp_path / "run", f"policy.model_name={own_model}", f'data.chat_template="{template}"')
    tokenizer = AutoTokenizer.from_pretrained(run.base)
    problem = PromptedProblem(0, "Compute 1 a+2", "3", ({"role": "user", "content": "Compute 1 a+2"},))
    fitting, _ = tokenize_prompts([problem], tokenizer, max_prompt_tokens=99)
    assert tokenizer.decode(fitting[0].prompt_ids) == "Q: Compute 1 a+2\nA:"
    tokenizer.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template == run.config.data.chat_template


def test_the_embedded_model_is_warmed_up_on_prompts_by_the_recipes_chat_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def spy(draw: Any, batch_tokens: int) -> Any:
        shown.extend(build_tokenizer().decode(prompt) for prompt, _ in draw(4))
        return batches(draw, batch_tokens)

    batches = warm_up._batches
    monkeypatch.setattr(warm_up, "_batches", spy)
    run = made(tmp_path / "run", "data.chat_template='{{ messages[0].content }}='")
    assert all(prompt.startswith("Compute ") and prompt.endswith("=") for prompt in shown)
    assert len(shown) == 8
    assert AutoTokenizer.from_pretrained(run.base).chat_template == "{{ messages[0].content }}="


def test_a_models_own_chat_template_that_leaves_out_the_system_prompt_is_told(tmp_path: Path, own_model: Path) -> None:
    (own_model / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    with pytest.raises(MistakeError, match=r"the chat template of \S+: renders nothing of data\.system_prompt"):
        made(tmp_path / "run", f"policy.model_name={own_model}", "data.system_prompt=Be brief.")


def test_overrides_of_the_models_configuration_are_written_where_every_reader_finds_them(
    tmp_path: Path, own_model: Path
) -> None:
    written = json.loads((own_model / "config.json").read_text())
    written["rope_parameters"]["rope_theta"] = 5000.0  # not transformers' own
    (own_model / "config.json").write_text(json.dumps(written))
    changes = ("max_position_embeddings=400", "rope_parameters.rope_type=linear", "rope_parameters.factor=2.0")
    overrides = [f"policy.hf_config_overrides.{change}" for change in changes]
    run = made(tmp_path / "run", f"policy.model_name={own_model}", *overrides)
    loaded = AutoModelForCausalLM.from_pretrained(run.base).config
    assert loaded.max_position_embeddings == 400
    assert loaded.rope_parameters == {**written["rope_parameters"], "rope_type": "linear", "factor": 2.0}
    assert json.loads((own_model / "config.json").read_text()) == written


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rope_theta=5000000", r"\.rope_theta: this model's config\.json has rope_parameters, which decides"),
        ("rope_scaling={type: yarn, factor: 2.0}", r"\.rope_scaling: this model's config\.json has rope_parameters"),
        ("max_position_embedings=400", r"\.max_position_embedings: a model of type qwen2 has no such setting"),
        ("max_position_embeddings=many", r"transformers does not load this config\.json: .*max_position_embeddings"),
    ],
)
def test_an_override_without_effect_is_refused(tmp_path: Path, own_model: Path, override: str, expected: str) -> None:
    with pytest.raises(MistakeError, match=f"policy.hf_config_overrides.*{expected}"):
        made(tmp_path / "run", f"policy.model_name={own_model}", f"policy.hf_config_overrides.{override}")


def test_older_names_of_settings_are_overridden_where_the_model_has_them(tmp_path: Path, own_model: Path) -> None:
    settings = json.loads((own_model / "config.json").read_text())
    del settings["rope_parameters"]
    (own_model / "config.json").write_text(json.dumps({**settings, "rope_theta": 5000.0}))
    override = "policy.hf_config_overrides.rope_scaling={type: linear, factor: 2.0}"
    loaded = AutoModelForCausalLM.from_pretrained(
        made(tmp_path / "run", f"policy.model_name={own_model}", override).base
    )
    assert loaded.config.rope_parameters["rope_theta"] == 5000.0
    assert loaded.config.rope_parameters["factor"] == 2.0


def test_a_stage_longer_than_the_models_context_is_refused_unless_the_context_is_extended(
    tmp_path: Path, own_model: Path
) -> None:
    settings = (f"policy.model_name={own_model}", "stages.2.max_response_tokens=137")
    with pytest.raises(MistakeError, match=r"stages\.2: 201 tokens .* is 200 .* shorten the stage, or extend"):
        made(tmp_path / "run", *settings)
    assert not (tmp_path / "run" / "base").exists()
    made(tmp_path / "longer", *settings, "policy.hf_config_overrides.max_position_embeddings=201")


def test_a_model_of_which_no_critic_can_be_made_is_refused_before_its_weights_are_taken(
    tmp_path: Path, own_model: Path
) -> None:
    critic = ("algorithm.baseline=critic", "algorithm.scale=none")
    other = tmp_path / "opt"
    shutil.copytree(own_model, other)
    (other / "config.json").write_text(json.dumps({"model_type": "opt", "max_position_embeddings": 200}))
    with pytest.raises(MistakeError, match=r"critic\.model_name: no critic can be made of .* of type opt"):
        made(tmp_path / "run", f"policy.model_name={other}", *critic, "critic={}")
    assert not (tmp_path / "run" / "base").exists()
    with pytest.raises(MistakeError, match=r"critic\.model_name: no critic can be made of .*/opt, a model of type opt"):
        made(tmp_path / "run", f"policy.model_name={own_model}", *critic, f"critic.model_name={other}")
    made(tmp_path / "run", f"policy.model_name={own_model}", *critic, "critic={}")


def test_a_model_of_which_no_reward_model_can_be_made_is_refused_before_its_weights_are_taken(
    tmp_path: Path, own_model: Path
) -> None:
    trained = (
        "rewards=[{name: reward_model, kwargs: {model: trained}}]",
        "pairs={first_row: 8, num_rows: 8, max_new_tokens: 40}",
        "reward_model={max_tokens: 100}",
    )
    other = tmp_path / "ctrl"
    shutil.copytree(own_model, other)
    (other / "config.json").write_text(json.dumps({"model_type": "ctrl", "n_positions": 200}))
    with pytest.raises(MistakeError, match=r"policy\.model_name: no reward model can be made of .* of type ctrl"):
        made(tmp_path / "run", f"policy.model_name={other}", *trained)
    assert not (tmp_path / "run" / "base").exists()
    made(tmp_path / "run", f"policy.model_name={own_model}", *trained)


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ("config.json", r"the folder holds no readable config\.json"),
        ("model.safetensors", r"holds no model\.safetensors\. Weights must be safetensors; pickled ones"),
        ("chat_template.jinja", r"its tokenizer has no chat template"),
    ],
)
def test_a_folder_that_lacks_a_part_of_a_model_is_refused_before_anything(
    tmp_path: Path, own_model: Path, absent: str, expected: str
) -> None:
    (own_model / absent).unlink()
    (own_model / "pytorch_model.bin").touch()
    run = run_of(tmp_path / "run", f"policy.model_name={own_model}")
    with pytest.raises(MistakeError, match=f"policy.model_name is '{own_model}'.*{expected}"):
        make_base_model(run)
    assert not run.base.exists()
    if absent != "chat_template.jinja":  # which takes transformers to know
        with pytest.raises(MistakeError, match=expected):
            check_inputs(run)


def test_a_file_of_the_weights_that_is_missing_is_named(tmp_path: Path, own_model: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (own_model / "model.safetensors.index.json").write_text(json.dumps(index))
    (own_model / "model-1.safetensors").touch()
    with pytest.raises(MistakeError, match=r"holds no model-2\.safetensors"):
        make_base_model(run_of(tmp_path / "run", f"policy.model_name={own_model}"))


def test_a_model_that_is_no_language_model_is_refused(tmp_path: Path, own_model: Path) -> None:
    (own_model / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(MistakeError, match="of type vit, which transformers knows as no causal language model"):
        make_base_model(run_of(tmp_path / "run", f"policy.model_name={own_model}"))


def test_a_folder_is_named_from_home_too(tmp_path: Path, own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(own_model.parent))
    run = run_of(tmp_path / "run", "policy.model_name=~/own")
    make_base_model(run)
    assert manifest(run.base)["source"] == "~/own"


def test_what_is_not_whole_in_the_cache_is_made_again(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = made(tmp_path / "first")
    (cache / first.keys.base() / "model" / "manifest.json").unlink()
    second = made(tmp_path / "second")
    assert "from the cache" not in capsys.readouterr().out
    assert manifest(second.base)["digest"] == manifest(first.base)["digest"]
    assert read_manifest(cache / first.keys.base() / "model") is not None


@pytest.mark.slow
def test_of_two_processes_one_warms_up_and_the_other_takes_it_from_the_cache(tmp_path: Path) -> None:
    roots = [tmp_path / "first", tmp_path / "second"]
    for root in roots:
        prepare_data(run_of(root))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rl_core", "warm-up", *SMALL, "--run-dir"]
    both = [
        subprocess.Popen([*command, str(root)], env=environment, stdout=subprocess.PIPE, text=True) for root in roots
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("from the cache" in text for text in said) == 1
    assert manifest(roots[0] / "base")["digest"] == manifest(roots[1] / "base")["digest"]


def test_a_base_model_of_other_settings_is_not_overwritten(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    with pytest.raises(MistakeError, match="was made with other settings"):
        make_base_model(run_of(run.root, "embedded.mixed_steps=2"))
