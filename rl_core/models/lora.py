"""Low-rank adapters: put on a model, turned off, named, and written as other programs read them.

W x becomes W x + alpha / rank * B A x, where W stays as it is and A and B are trained (Hu et al. 2021, arXiv
2106.09685). Names are those of the model without an adapter, and beside `<layer>.weight` stand

    <layer>.lora_A.weight    A [rank, inputs]
    <layer>.lora_B.weight    B [outputs, rank]

Under these an adapter is checkpointed, sent to the sampler and compared there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from rl_core.config.models import LoraConfig
from rl_core.errors import MistakeError

if TYPE_CHECKING:
    import peft

A, B = ".lora_A.weight", ".lora_B.weight"
# peft's names, in a model: of the layer below an adapter, and of the adapter; in a file: what stands before all names.
BASE_LAYER, ADAPTER, FILE_PREFIX = ".base_layer", "default", "base_model.model."


def add_adapter(causal_lm: PreTrainedModel, lora: LoraConfig, *, field: str = "policy.lora.target_modules") -> None:
    """Put an adapter on the model that changes nothing yet (B = 0), and let nothing else be trained.

    A is drawn from torch's global generator.

    Args:
        field: of the configuration that names the layers, for messages.

    Raises:
        MistakeError: `target_modules` names a layer that the model does not have, or the output head.
    """
    targets = "all-linear" if lora.target_modules == "all-linear" else list(lora.target_modules)
    known = {
        name.rpartition(".")[-1] for name, module in causal_lm.named_modules() if _can_be_adapted(causal_lm, module)
    }
    unknown = set() if targets == "all-linear" else set(targets) - known
    if unknown:
        raise MistakeError(
            f"{field}: {', '.join(sorted(unknown))}: the model has {', '.join(sorted(known))}; or take all-linear"
        )
    causal_lm.add_adapter(_peft_config(lora, targets), ADAPTER)
    for parameter in causal_lm.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(causal_lm.dtype)


@contextmanager
def adapter_off(causal_lm: PreTrainedModel) -> Iterator[None]:
    """The model as it is without its adapter."""
    causal_lm.disable_adapters()
    try:
        yield
    finally:
        causal_lm.enable_adapters()


def name_without_peft(name: str) -> str:
    """A parameter's name as said above, from the one that it has in a model with an adapter; others stay."""
    return name.replace(f"{BASE_LAYER}.", ".").replace(f".{ADAPTER}.weight", ".weight")


def with_scale(name: str, tensor: torch.Tensor, lora: LoraConfig) -> torch.Tensor:
    """B with alpha / rank in it, A as it is: an adapter that is applied with alpha = rank, wherever it is used."""
    return tensor * (lora.alpha / lora.rank) if name.endswith(B) else tensor


def unscaled(lora: LoraConfig) -> LoraConfig:
    """The settings under which what `with_scale` gives is the same adapter."""
    return lora.model_copy(update={"alpha": float(lora.rank)})


def write_adapter(folder: Path, tensors: Mapping[str, torch.Tensor], lora: LoraConfig) -> None:
    """Write an adapter as peft and vLLM read it: adapter_model.safetensors and adapter_config.json.

    Args:
        tensors: by the names said above.
    """
    layers = sorted({name.removesuffix(A).rpartition(".")[-1] for name in tensors if name.endswith(A)})
    save_file({FILE_PREFIX + name: tensor for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")
    _peft_config(lora, layers).save_pretrained(folder)


def _can_be_adapted(causal_lm: PreTrainedModel, module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear) and module is not causal_lm.get_output_embeddings()


def _peft_config(lora: LoraConfig, targets: str | list[str]) -> "peft.LoraConfig":
    import peft  # takes seconds, which runs without an adapter need not spend

    return peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM")
