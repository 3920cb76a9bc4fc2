"""A policy's adapter in vLLM: what vLLM is started with for it, how it arrives, and what vLLM then computes with.

vLLM takes an adapter from a folder and copies it into a slot of its layers, fused and split as the layers are. Requests
name the adapter that they are for: one that names none is answered by the model below it, without an error.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vllm import LLM
from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
from vllm.lora.request import LoRARequest
from vllm.model_executor.layers.linear import RowParallelLinear

from rl_core.config.models import LoraConfig
from rl_core.models.lora import A, B, unscaled, write_adapter
from rl_core.rollout.engine import NamedTensors
from rl_core.rollout.fingerprint import Fingerprints, tensor_fingerprint
from rl_core.rollout.vllm_weights import over_group, slices_of

NAME, NUMBER = "policy", 1  # how vLLM knows the adapter
MAX_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM 0.32 can be started for


def adapter_arguments(lora: LoraConfig) -> dict[str, Any]:
    """The arguments of `vllm.LLM` that leave room for one adapter."""
    arguments: dict[str, Any] = {
        "enable_lora": True,
        "max_loras": 1,
        "max_lora_rank": min(rank for rank in MAX_RANKS if rank >= lora.rank),
    }
    if lora.target_modules != "all-linear":
        arguments["lora_target_modules"] = list(lora.target_modules)
    return arguments


def load_adapter(llm: LLM, weights: NamedTensors, lora: LoraConfig) -> LoRARequest:
    """Put an adapter in the place of the one before; what requests are to be given with."""
    # A copy: under ZeRO-3 a tensor lives only until the next one.
    tensors = {name: tensor.to("cpu", copy=True) for name, tensor in weights}
    with tempfile.TemporaryDirectory(prefix="adapter") as folder:
        write_adapter(Path(folder), tensors, unscaled(lora))
        llm.llm_engine.add_lora(LoRARequest(NAME, NUMBER, folder, load_inplace=True))
        return LoRARequest(NAME, NUMBER, folder)  # without load_inplace, or every step would look for the folder


def adapter_fingerprints(model: Any) -> Fingerprints:
    """Of the adapter that requests are answered with; a function of vLLM's own model, as those of `vllm_weights`."""
    manager = model.lora_manager
    adapter = manager.get_adapter(NUMBER)
    if adapter is None or NUMBER not in manager.lora_index_to_id:
        return {}
    slot = manager.lora_index_to_id.index(NUMBER)
    packed: dict[str, list[str]] = getattr(model, "packed_modules_mapping", {})
    return over_group(
        part
        for name, module in model.named_modules()
        if isinstance(module, BaseLinearLayerWithLoRA)
        for part in _layer_fingerprints(name, module, slot, adapter.rank, packed)
    )


def _layer_fingerprints(
    name: str, module: BaseLinearLayerWithLoRA, slot: int, rank: int, packed: dict[str, list[str]]
) -> Iterator[Fingerprints]:
    """What this rank of the group counts. A slot is filled up to the largest rank with zeros, which count nothing."""
    layer = module.base_layer
    first = layer.tp_rank == 0
    by_inputs = isinstance(layer, RowParallelLinear)  # the ranks then share A, and each has all of B; else the reverse
    first_input = layer.tp_rank * module.input_size if by_inputs else 0
    slices = slices_of(name, layer, packed)
    for part, a, b in zip(slices, module.lora_a_stacked, module.lora_b_stacked, strict=True):
        if by_inputs or first:
            yield {part.name + A: tensor_fingerprint(a[slot, 0], columns=layer.input_size, first_column=first_input)}
        if first if by_inputs else part.counts:
            yield {part.name + B: tensor_fingerprint(b[slot, 0], columns=rank, first_row=part.first_row)}
