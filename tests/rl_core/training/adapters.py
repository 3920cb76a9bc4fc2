"""Adapters that do something, for trainings that go on with one."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from rl_core.config.models import LoraConfig
from rl_core.models.adapter_files import Adapter
from rl_core.models.lora import add_adapter, name_without_peft


def adapter_of(base: Path, lora: LoraConfig, seed: int) -> Adapter:
    """An adapter of the model in a folder that does something."""
    model, draw = AutoModelForCausalLM.from_pretrained(base), torch.Generator().manual_seed(seed)
    add_adapter(model, lora)
    shapes = {name_without_peft(name): p.shape for name, p in model.named_parameters() if p.requires_grad}
    tensors = {name: 0.2 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return Adapter(lora, tensors, torch.randn(1, model.config.hidden_size, generator=draw))
