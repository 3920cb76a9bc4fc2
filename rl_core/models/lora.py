"""Low-rank adapters: put on a model, chosen among, named, and written as other programs read them.

W x becomes W x + alpha / rank * B A x, where W stays as it is and A and B are trained (Hu et al. 2021, arXiv
2106.09685). Names are those of the model without an adapter, and beside `<layer>.weight` stand

    <layer>.lora_A.weight    A [rank, inputs]
    <layer>.lora_B.weight    B [outputs, rank]

Under these an adapter is checkpointed, sent to the sampler and compared there.
"""

import re
import warnings
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
    from peft.tuners.tuners_utils import BaseTunerLayer

A, B = ".lora_A.weight", ".lora_B.weight"
# peft's names, in a model: of the layer below an adapter, and of the adapter; in a file: what stands before all names.
BASE_LAYER, ADAPTER, FILE_PREFIX = ".base_layer", "default", "base_model.model."
OF_PEFT = re.compile(r"(\.lora_[AB])\.[^.]+(\.weight)$")  # with the adapter's name between


def add_adapter(
    causal_lm: PreTrainedModel,
    lora: LoraConfig,
    *,
    field: str = "policy.lora.target_modules",
    adapter: str = ADAPTER,
) -> None:
    """Put an adapter on the model that changes nothing yet (B = 0), and let nothing else be trained.

    A is drawn from torch's global generator.

    Args:
        field: of the configuration that names the layers, for messages.
        adapter: its name, where several lie on one model.

    Raises:
        MistakeError: `target_modules` names a layer that the model does not have, or the output head.
    """
    targets = "all-linear" if lora.target_modules == "all-linear" else list(lora.target_modules)
    known = linear_layers(causal_lm)
    unknown = set() if targets == "all-linear" else set(targets) - known
    if unknown:
        raise MistakeError(
            f"{field}: {', '.join(sorted(unknown))}: the model has {', '.join(sorted(known))}; or take all-linear"
        )
    with warnings.catch_warnings():  # of peft, where another adapter is there
        warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")
        causal_lm.add_adapter(_peft_config(lora, targets), adapter)
    for parameter in causal_lm.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(causal_lm.dtype)


def linear_layers(causal_lm: PreTrainedModel) -> set[str]:
    """The last names of the layers that an adapter can be for: every linear one but the output head."""
    head = causal_lm.get_output_embeddings()
    return {
        name.removesuffix(BASE_LAYER).rpartition(".")[-1]
        for name, module in causal_lm.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and not OF_PEFT.search(f"{name}.weight")
    }


def select_adapter(causal_lm: torch.nn.Module, adapter: str | None) -> None:
    """Let the model compute with one of its adapters, or with none of them, and change nothing else.

    peft's own switches (`set_adapter`, `disable_adapters`) also decide what has a gradient: they would freeze the other
    adapters that are trained, and make one that is frozen trainable.
    """
    for layer in _adapted_layers(causal_lm):
        layer._active_adapter = [] if adapter is None else [adapter]


@contextmanager
def only_adapter(causal_lm: torch.nn.Module, adapter: str | None) -> Iterator[None]:
    """`select_adapter` for a while; what was selected before is so again afterwards."""
    layers = _adapted_layers(causal_lm)
    before = [layer._active_adapter for layer in layers]
    select_adapter(causal_lm, adapter)
    try:
        yield
    finally:
        for layer, adapters in zip(layers, before, strict=True):
            layer._active_adapter = adapters


def name_without_peft(name: str) -> str:
    """A parameter's name as said above, from the one that it has in a model with adapters; others stay."""
    return OF_PEFT.sub(r"\1\2", name.replace(f"{BASE_LAYER}.", "."))


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
    config = _peft_config(lora, layers)
    config.target_modules = layers  # peft made a set of them, which each process would write in another order
    config.save_pretrained(folder)


def _adapted_layers(causal_lm: torch.nn.Module) -> "list[BaseTunerLayer]":
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in causal_lm.modules() if isinstance(module, BaseTunerLayer)]


def _peft_config(lora: LoraConfig, targets: str | list[str]) -> "peft.LoraConfig":
    import peft  # takes seconds, which runs without an adapter need not spend

    return peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM")
