"""Adapters in folders that a recipe names are looked at before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from rl_core.config import load_config
from rl_core.errors import MistakeError
from rl_core.models.adapter_settings import WEIGHTS
from rl_core.models.lora import write_adapter
from rl_core.preflight import check_inputs
from rl_core.rewards import Scorer
from rl_core.run_dir import RunDir
from tests.rl_core.training.shared_roles import FIRST, REWARD

LORA = {"rank": FIRST.lora.rank, "alpha": FIRST.lora.alpha}


def check(tmp_path: Path, lora: dict[str, Any], **rewards: Any) -> None:
    """Look at the embedded recipe's first stage with this adapter, and with a reward model of these options."""
    stage = {"name": "a", "steps": 1, "max_prompt_tokens": 8, "max_response_tokens": 16}
    learned = [{"name": "reward_model", "kwargs": rewards}] if rewards else [{"name": "boxed"}]
    settings = {"policy.lora": lora, "rewards": learned, "stages": [stage]}
    overrides = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    check_inputs(RunDir(tmp_path / "run", load_config(overrides=overrides)))


@pytest.fixture
def first(tmp_path: Path) -> Path:
    folder = tmp_path / "sft"
    folder.mkdir()
    write_adapter(folder, FIRST.tensors, FIRST.lora)
    return folder


def test_the_adapter_to_go_on_with_is_there_and_of_the_recipes_shape(tmp_path: Path, first: Path) -> None:
    check(tmp_path, {**LORA, "start": "adapter", "folder": str(first)})
    with pytest.raises(MistakeError, match=r"policy\.lora\.rank is 8, and the adapter in .*sft, .* has 3: take that"):
        check(tmp_path, {**LORA, "rank": 8, "start": "adapter", "folder": str(first)})
    with pytest.raises(MistakeError, match=r"policy\.lora\.folder is .*absent.*: it holds no adapter"):
        check(tmp_path, {**LORA, "start": "adapter", "folder": str(tmp_path / "absent")})


def test_a_reward_model_on_the_base_is_an_adapter_with_a_head(tmp_path: Path) -> None:
    shared = {"model": str(tmp_path), "backbone": "shared"}
    with pytest.raises(MistakeError, match=r"rewards: reward_model: model is .*: it holds no adapter"):
        check(tmp_path, LORA, **shared)
    write_adapter(tmp_path, REWARD.tensors, REWARD.lora)
    with pytest.raises(MistakeError, match=r"it holds no score\.weight, which gives the score"):
        check(tmp_path, LORA, **shared)
    assert REWARD.head is not None
    save_file({"score.weight": REWARD.head}, tmp_path / "score.safetensors")
    check(tmp_path, LORA, **shared)
    assert (tmp_path / WEIGHTS).is_file()
    with pytest.raises(MistakeError, match=r"it is an adapter: merge it .* add backbone: shared"):
        check(tmp_path, LORA, model=str(tmp_path))
    with pytest.raises(MistakeError, match="adapters are not fetched"):
        check(tmp_path, LORA, model="org/judge", backbone="shared")
    with pytest.raises(MistakeError, match=r"reward_model: backbone is 'elsewhere'"):
        check(tmp_path, LORA, model=str(tmp_path), backbone="elsewhere")
    with pytest.raises(MistakeError, match=r"reward_model has no option `judge`"):
        check(tmp_path, LORA, model=str(tmp_path), judge="me")


def test_what_shares_the_weights_of_a_training_is_asked_by_a_training_alone(tmp_path: Path) -> None:
    config = load_config(
        overrides=[
            "rewards=" + json.dumps([{"name": "reward_model", "kwargs": {"model": "x", "backbone": "shared"}}]),
            "policy.lora={start: adapter}",
        ]
    )
    with pytest.raises(MistakeError, match="only a training can ask it; take backbone: own and the merged model"):
        Scorer(config.rewards).score(["a"], ["1"], [False], messages=[[{"role": "user", "content": "b"}]])
