from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, MambaConfig, PreTrainedConfig, Qwen2Config

from rl_core.config.models import PolicyConfig
from rl_core.errors import MistakeError
from rl_core.models import load
from rl_core.models.load import choose_attention, load_causal_lm
from tests.rl_core.tiny import tiny_qwen2

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def qwen2(tmp_path: Path) -> Path:
    tiny_qwen2().save_pretrained(tmp_path)
    return tmp_path


def policy(**settings: str) -> PolicyConfig:
    return PolicyConfig.model_validate({"model_name": "embedded", **settings})


@pytest.mark.parametrize(("asked", "taken"), [("auto", "sdpa"), ("sdpa", "sdpa"), ("eager", "eager")])
def test_a_model_on_a_cpu_has_the_attention_that_was_asked_for(qwen2: Path, asked: str, taken: str) -> None:
    assert load_causal_lm(qwen2, policy(attention=asked), CPU).config._attn_implementation == taken


@pytest.mark.parametrize("kind", [Qwen2Config, GPT2Config])
def test_a_model_that_names_dropout_is_trained_without(kind: type[PreTrainedConfig], tmp_path: Path) -> None:
    if kind is GPT2Config:  # 0.1 in three places by default
        config = kind(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
        config = kind(vocab_size=32, num_hidden_layers=1, attention_dropout=0.3, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model, tokens = load_causal_lm(tmp_path, policy(), CPU).train(), torch.arange(8)[None]
    assert torch.equal(model(tokens).logits, model(tokens).logits)


def test_auto_takes_flash_attention_only_where_everything_that_it_needs_is_there(
    qwen2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "is_flash_attn_2_available", lambda: True)
    assert choose_attention(qwen2, policy(), GPU) == "flash_attention_2"
    assert choose_attention(qwen2, policy(dtype="float32"), GPU) is None
    assert choose_attention(qwen2, policy(), CPU) is None
    monkeypatch.setattr(load, "is_flash_attn_2_available", lambda: False)
    assert choose_attention(qwen2, policy(), GPU) is None
    assert choose_attention(qwen2, policy(attention="sdpa"), GPU) == "sdpa"


def test_flash_attention_that_was_asked_for_is_refused_with_what_is_missing(qwen2: Path) -> None:
    asked = policy(attention="flash_attention_2")
    with pytest.raises(
        MistakeError, match=r"needs an accelerator and policy\.dtype bfloat16 and the package flash-attn"
    ):
        choose_attention(qwen2, asked, CPU)
    MambaConfig(num_hidden_layers=1).save_pretrained(qwen2)
    with pytest.raises(MistakeError, match="a model that has it, unlike MambaForCausalLM"):
        choose_attention(qwen2, asked, CPU)
