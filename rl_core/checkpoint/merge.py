"""An adapter and the model below it: read together as the merged model, and compared with what was written.

W + alpha / rank * B A is computed in float32, one tensor at a time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import safe_open

from rl_core.checkpoint.export import files_of_tensors
from rl_core.checkpoint.tensors import read_tensors
from rl_core.config.models import LoraConfig
from rl_core.errors import GuardStop, MistakeError
from rl_core.models.lora import A, B, with_scale


class MergedModel:
    """The tensors of a model with its adapter merged into it; see `rl_core.checkpoint.tensors.TensorSource`."""

    def __init__(self, base: Path, weights: Path, lora: LoraConfig, names: Sequence[str]) -> None:
        """Args:
        base: Hugging Face folder of the model below the adapter.
        weights: DCP folder of the adapter.
        names: of the model's tensors.

        Raises:
            MistakeError: `base` lacks a tensor, or the adapter is for a layer that it does not have.
        """
        self.adapter = {name: tensor for name, tensor in read_tensors(weights) if name.endswith((A, B))}  # no head
        self._files = files_of_tensors(base)
        self._lora = lora
        self.shapes: dict[str, torch.Size] = {}
        missing = set(names) - set(self._files)
        if missing:
            raise MistakeError(f"{base} lacks {len(missing)} of the model's tensors, first {min(missing)}")
        for name in names:
            with safe_open(self._files[name], framework="pt") as tensors:
                self.shapes[name] = torch.Size(tensors.get_slice(name).get_shape())
        strangers = {weight_below(name) for name in self.adapter} - set(self.shapes)
        if strangers:
            raise MistakeError(f"{weights} holds an adapter for {min(strangers)}, which is not in {base}")

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """One after another; the tensors that have no adapter as they are."""
        for name in names:
            with safe_open(self._files[name], framework="pt") as tensors:
                tensor = tensors.get_tensor(name)
            layer = name.removesuffix(".weight")
            if layer + A in self.adapter:
                scaled = with_scale(layer + B, self.adapter[layer + B], self._lora)
                tensor = tensor.float() + scaled @ self.adapter[layer + A]
            yield name, tensor

    def require_kept(self, folder: Path, dtype: torch.dtype) -> str:
        """How many of the adapter's layers differ, in the folder that was written, from the model below.

        Raises:
            GuardStop: an adapter that was trained is in none of them: what it adds is lost where weights are rounded.
        """
        written = files_of_tensors(folder)
        layers = sorted({weight_below(name) for name in self.adapter})
        changed = 0
        for name in layers:
            with safe_open(self._files[name], framework="pt") as below, safe_open(written[name], "pt") as merged:
                changed += not torch.equal(below.get_tensor(name).to(dtype), merged.get_tensor(name))
        trained = any(bool(tensor.any()) for name, tensor in self.adapter.items() if name.endswith(B))
        if trained and not changed:
            raise GuardStop(
                f"rounded to {dtype}, the merged model is the one below the adapter, bit for bit: it is not published; "
                "set checkpoint.export_dtype to float32"
            )
        return f"{changed} of {len(layers)}"


def weight_below(name: str) -> str:
    """The weight that a tensor of an adapter is for."""
    return name.removesuffix(A).removesuffix(B) + ".weight"
