import json
from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import MistakeError
from rl_core.preflight import check_inputs
from rl_core.run_dir import RunDir
from tests.rl_core.tiny import tiny_qwen2


def check(tmp_path: Path, *overrides: str) -> None:
    check_inputs(RunDir(tmp_path / "run", load_config(overrides=overrides)))
    assert not (tmp_path / "run").exists()


def own_model(tmp_path: Path, context: int) -> str:
    tiny_qwen2(context_tokens=context).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    return f"policy.model_name={tmp_path / 'model'}"


def test_the_embedded_recipe_needs_nothing(tmp_path: Path) -> None:
    check(tmp_path)


def test_a_local_data_set_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    override = f"data.test={{source: path, path: {file}}}"
    with pytest.raises(MistakeError, match=r"rows\.json"):
        check(tmp_path, override)
    file.write_text("[]")
    with pytest.raises(MistakeError, match=r"rows\.json"):
        check(tmp_path, override)
    file.write_text(json.dumps([{"problem": "1+1", "answer": "2", "solution": "2"}]))
    check(tmp_path, override)


def test_a_model_folder_that_is_not_there_or_holds_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="no such folder"):
        check(tmp_path, f"policy.model_name={tmp_path / 'absent'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MistakeError, match=r"config\.json"):
        check(tmp_path, f"policy.model_name={tmp_path / 'empty'}")
    check(tmp_path, "policy.model_name=owner/on-the-hub")


def test_a_stage_longer_than_the_context_of_a_local_model_is_told(tmp_path: Path) -> None:
    model = own_model(tmp_path, 150)
    with pytest.raises(MistakeError, match=r"stages\.2: 160 tokens .* 150"):
        check(tmp_path, model)
    check(tmp_path, model, "policy.hf_config_overrides.max_position_embeddings=160")


def test_a_critics_folder_that_is_not_there_or_holds_no_model_is_told(tmp_path: Path) -> None:
    critic = ("algorithm.baseline=critic", "algorithm.scale=none")
    check(tmp_path, *critic, "critic={}")
    for name in (str(tmp_path / "absent"), "owner/on-the-hub"):
        with pytest.raises(MistakeError, match=rf"critic\.model_name is '{name}': no such folder"):
            check(tmp_path, *critic, f"critic.model_name={name}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MistakeError, match=r"critic\.model_name is .*empty': the folder holds no readable config"):
        check(tmp_path, *critic, f"critic.model_name={tmp_path / 'empty'}")
    own_model(tmp_path, 160)
    check(tmp_path, *critic, f"critic.model_name={tmp_path / 'model'}")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(MistakeError, match=r"critic\.model_name is .*model': holds no model\.safetensors"):
        check(tmp_path, *critic, f"critic.model_name={tmp_path / 'model'}")
