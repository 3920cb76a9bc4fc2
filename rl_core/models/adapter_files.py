"""Adapters in folders, as `adapter_settings` says: read, and two of them made one."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from rl_core.config.models import LoraConfig
from rl_core.models.adapter_settings import HEAD, read_lora, refused, weight_files
from rl_core.models.lora import FILE_PREFIX, A, B, with_scale


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter by itself."""

    lora: LoraConfig  # target_modules are the layers that it has, by name
    tensors: dict[str, torch.Tensor]  # A and B of each layer
    head: torch.Tensor | None = None  # [1, H], of a reward model


def read_adapter(folder: Path, field: str) -> Adapter:
    """The adapter in a folder.

    Args:
        field: of the configuration that names the folder, for messages.

    Raises:
        MistakeError: there is none that this project can use.
    """
    lora = read_lora(folder, field)
    stored = [item for file in weight_files(folder) for item in load_file(file).items()]
    tensors = {name.removeprefix(FILE_PREFIX): tensor for name, tensor in stored}
    head = tensors.pop(HEAD, None)
    strangers = [name for name in tensors if not name.endswith((A, B))]
    if strangers:
        raise refused(field, folder, f"it holds {strangers[0]}, which is of no low-rank adapter of linear layers")
    for name, tensor in tensors.items():
        if tensor.shape[0 if name.endswith(A) else 1] != lora.rank:
            raise refused(field, folder, f"{name} has shape {list(tensor.shape)}, and its rank is {lora.rank}")
    layers = tuple(sorted({name.removesuffix(A).rpartition(".")[-1] for name in tensors if name.endswith(A)}))
    return Adapter(lora.model_copy(update={"target_modules": layers}), tensors, head)


def stacked(below: Adapter, above: Adapter) -> Adapter:
    """One adapter that adds what both add: of an adapter that was trained on a model with another merged into it.

    (W + s B A) x + s' B' A' x = W x + [s B, s' B'] [A; A'] x, so that ranks add up.
    """
    rank = below.lora.rank + above.lora.rank
    tensors: dict[str, torch.Tensor] = {}
    for layer in sorted({name.removesuffix(A) for name in (*below.tensors, *above.tensors) if name.endswith(A)}):
        parts = [_of_layer(adapter, layer) for adapter in (below, above)]
        known = next((a, b) for a, b in parts if a is not None and b is not None)
        halves = [
            _zeros(known, adapter.lora.rank) if a is None or b is None else (a, b)
            for adapter, (a, b) in zip((below, above), parts, strict=True)
        ]
        tensors[layer + A] = torch.cat([a.float() for a, _ in halves])
        tensors[layer + B] = torch.cat([b.float() for _, b in halves], dim=1)
    names = tuple(sorted({*below.lora.target_modules, *above.lora.target_modules}))
    return Adapter(LoraConfig(rank=rank, alpha=rank, target_modules=names), tensors, above.head)


def _of_layer(adapter: Adapter, layer: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """A, and B with the adapter's scale in it."""
    a, b = adapter.tensors.get(layer + A), adapter.tensors.get(layer + B)
    return a, None if b is None else with_scale(layer + B, b.float(), adapter.lora)


def _zeros(known: tuple[torch.Tensor, torch.Tensor], rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nothing, in the shape of a layer that the other adapter is for."""
    a, b = known
    return a.new_zeros(rank, a.shape[1]), b.new_zeros(b.shape[0], rank)
