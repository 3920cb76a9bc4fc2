"""Adapters in folders: as peft itself writes them, and two made one."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2ForSequenceClassification

from rl_core.config.models import LoraConfig
from rl_core.errors import MistakeError
from rl_core.models.adapter_files import Adapter, read_adapter, stacked
from rl_core.models.adapter_settings import CONFIG, WEIGHTS, read_lora, require_head, require_shape
from rl_core.models.lora import write_adapter
from tests.rl_core.training.shared_roles import FIRST, REWARD, merged
from tests.rl_core.training.tiny_training import policy

FIELD = "policy.lora.folder"
TOKENS = torch.tensor([[5, 6, 7, 8, 9]])


def written(folder: Path, adapter: Adapter = FIRST, **settings: Any) -> Path:
    write_adapter(folder, adapter.tensors, adapter.lora)
    file = folder / CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return folder


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    adapter = read_adapter(written(tmp_path), FIELD)
    assert adapter.lora == FIRST.lora
    assert adapter.head is None
    torch.testing.assert_close(adapter.tensors, FIRST.tensors, rtol=0, atol=0)


def test_the_same_adapter_is_the_same_files_whichever_process_writes_it(tmp_path: Path) -> None:
    layers = json.loads((written(tmp_path) / CONFIG).read_text())["target_modules"]
    assert len(layers) == 7
    assert layers == sorted(layers)


def test_a_reward_models_adapter_that_peft_wrote_is_read_with_its_head(tmp_path: Path) -> None:
    model = Qwen2ForSequenceClassification(policy().config)
    model.score = torch.nn.Linear(model.config.hidden_size, 1, bias=False)
    settings = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "up_proj"], task_type="SEQ_CLS")
    adapted = peft.get_peft_model(model, settings)
    adapted.save_pretrained(tmp_path)
    adapter = read_adapter(tmp_path, FIELD)
    assert adapter.lora == LoraConfig(rank=2, alpha=4, target_modules=("q_proj", "up_proj"))
    assert len(adapter.tensors) == 2 * 2 * 2
    a = adapted.get_submodule("base_model.model.model.layers.1.self_attn.q_proj").lora_A["default"].weight
    assert torch.equal(adapter.tensors["model.layers.1.self_attn.q_proj.lora_A.weight"], a)
    assert adapter.head is not None
    assert torch.equal(adapter.head, adapted.base_model.model.score.weight)
    require_head(tmp_path, FIELD)


def test_the_head_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, REWARD)
    with pytest.raises(MistakeError, match=r"holds no score\.weight"):
        require_head(tmp_path, FIELD)
    assert REWARD.head is not None
    save_file({"score.weight": REWARD.head}, tmp_path / "score.safetensors")
    require_head(tmp_path, FIELD)
    head = read_adapter(tmp_path, FIELD).head
    assert head is not None
    assert torch.equal(head, REWARD.head)


@torch.no_grad()
def test_two_adapters_as_one_are_one_merged_and_the_other_on_it() -> None:
    both = stacked(FIRST, REWARD)
    assert both.lora.rank == FIRST.lora.rank + REWARD.lora.rank
    one_after_the_other = merged(REWARD, merged(FIRST))
    torch.testing.assert_close(merged(both)(TOKENS).logits, one_after_the_other(TOKENS).logits, rtol=1e-4, atol=1e-4)
    for adapter in (FIRST, REWARD):
        assert not torch.allclose(merged(adapter)(TOKENS).logits, one_after_the_other(TOKENS).logits, atol=1e-2)
    assert both.head is REWARD.head


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"use_rslora": True}, "use_rslora True"),
        ({"peft_type": "IA3"}, "peft_type 'IA3'"),
        ({"rank_pattern": {"q_proj": 1}}, "rank_pattern"),
        ({"layers_to_transform": [0]}, "layers_to_transform"),
        ({"r": 4}, r"q_proj\.lora_[AB]\.weight has shape|has shape \[\d+, \d+\], and its rank is 4"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(MistakeError, match=rf"policy\.lora\.folder is .*{told}"):
        read_adapter(written(tmp_path, **settings), FIELD)


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match=r"it holds no adapter, which is adapter_config\.json and adapter_model"):
        read_lora(tmp_path, FIELD)
    written(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({**tensors, "base_model.model.lm_head.weight": torch.zeros(2, 2)}, tmp_path / WEIGHTS)
    with pytest.raises(MistakeError, match=r"it holds lm_head\.weight, which is of no low-rank adapter"):
        read_adapter(tmp_path, FIELD)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (LoraConfig(rank=4, alpha=5), "rank is 4, and the adapter in .* has 3"),
        (LoraConfig(rank=3, alpha=6), "alpha is 6, and the adapter in .* has 5"),
        (LoraConfig(rank=3, alpha=5, target_modules=("q_proj",)), "target_modules is q_proj, and the adapter"),
    ],
)
def test_an_adapter_of_another_shape_is_not_gone_on_with(tmp_path: Path, own: LoraConfig, told: str) -> None:
    with pytest.raises(MistakeError, match=rf"policy\.lora\.{told}"):
        require_shape(FIRST.lora, own, "policy.lora", tmp_path)
    require_shape(FIRST.lora, LoraConfig(rank=3, alpha=5), "policy.lora", tmp_path)
