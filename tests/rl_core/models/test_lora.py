"""Adapters on a model: against peft's own loading of what is written, and against the formula."""

import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file

from rl_core.config.models import LoraConfig
from rl_core.errors import MistakeError
from rl_core.models.lora import add_adapter, name_without_peft, only_adapter, unscaled, with_scale, write_adapter
from tests.rl_core.tiny import tiny_qwen2

TOKENS = torch.tensor([[5, 6, 7, 8, 9]])
ROUNDING = 1e-5
LORA = LoraConfig(rank=3, alpha=5)


def adapted(lora: LoraConfig = LORA) -> torch.nn.Module:
    """A model whose adapter does something."""
    model = tiny_qwen2(seed=0)
    add_adapter(model, lora)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return model


def adapter_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name_without_peft(name): p.detach() for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(TOKENS).logits


def test_a_new_adapter_changes_nothing_and_is_all_that_is_trained() -> None:
    model = tiny_qwen2(seed=0)
    before = logits(model)
    add_adapter(model, LORA)
    assert torch.equal(logits(model), before)
    layers = [name for name, module in tiny_qwen2(seed=0).model.named_modules() if isinstance(module, torch.nn.Linear)]
    assert len(layers) == 14
    expected = {f"model.{layer}.lora_{half}.weight" for layer in layers for half in "AB"}
    assert set(adapter_tensors(model)) == expected


def test_names_without_an_adapter_are_those_of_the_model() -> None:
    with_adapter = {name_without_peft(name) for name, p in adapted().named_parameters() if not p.requires_grad}
    assert with_adapter == {name for name, _ in tiny_qwen2(seed=0).named_parameters()}


def test_the_adapter_adds_alpha_over_rank_times_b_a() -> None:
    model, merged = adapted(), tiny_qwen2(seed=0)
    tensors = adapter_tensors(model)
    with torch.no_grad():
        for name, parameter in merged.named_parameters():
            layer = name.removesuffix(".weight")
            if f"{layer}.lora_A.weight" in tensors:
                parameter += 5 / 3 * tensors[f"{layer}.lora_B.weight"] @ tensors[f"{layer}.lora_A.weight"]
    torch.testing.assert_close(logits(model), logits(merged), rtol=ROUNDING, atol=ROUNDING)


def test_without_its_adapter_the_model_is_the_one_below_and_is_trained_on_afterwards() -> None:
    model = adapted()
    trained = set(adapter_tensors(model))
    with only_adapter(model, None):
        assert torch.equal(logits(model), logits(tiny_qwen2(seed=0)))
    assert not torch.equal(logits(model), logits(tiny_qwen2(seed=0)))
    assert set(adapter_tensors(model)) == trained


def test_with_its_scale_inside_an_adapter_is_the_same_where_alpha_is_the_rank() -> None:
    model, other = adapted(), adapted(unscaled(LORA))
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(with_scale(name_without_peft(name), parameter, LORA))
    torch.testing.assert_close(logits(other), logits(model), rtol=ROUNDING, atol=ROUNDING)


def test_peft_reads_what_is_written(tmp_path: Path) -> None:
    model = adapted(LoraConfig(rank=3, alpha=5, target_modules=("v_proj", "up_proj")))
    write_adapter(tmp_path, adapter_tensors(model), LORA)
    read = peft.PeftModel.from_pretrained(tiny_qwen2(seed=0), tmp_path)
    assert torch.equal(logits(read), logits(model))
    written = load_file(tmp_path / "adapter_model.safetensors")
    assert len(written) == 8
    assert "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight" in written
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (3, 5)
    assert sorted(settings["target_modules"]) == ["up_proj", "v_proj"]


def test_an_adapter_computes_in_the_models_own_dtype() -> None:
    model = tiny_qwen2(seed=0).to(torch.bfloat16)
    add_adapter(model, LORA)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("layer", ["q_prj", "lm_head", "embed_tokens"])
def test_layers_that_cannot_be_adapted_are_refused_by_name(layer: str) -> None:
    with pytest.raises(MistakeError, match=rf"policy.lora.target_modules: {layer}: the model has down_proj, gate_proj"):
        add_adapter(tiny_qwen2(seed=0), LoraConfig(target_modules=("q_proj", layer)))
