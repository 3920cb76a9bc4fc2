"""Streaming a model into sharded safetensors: one piece at a time, never the whole model in memory."""

from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rl_core.checkpoint.tensors import TensorSource
from rl_core.errors import GuardStop
from rl_core.manifest import write_json

SINGLE = "model.safetensors"


def export_weights(source: TensorSource, folder: Path, *, dtype: torch.dtype, max_shard_bytes: int) -> None:
    """Write the model's weights as Hugging Face reads them: one file, or shards with an index.

    Args:
        dtype: floating-point tensors are converted to it.

    Raises:
        GuardStop: a weight is not finite.
    """
    plan = _plan(source, dtype, max_shard_bytes)
    files = _file_names(len(plan))
    where = {}
    for file, group in zip(files, plan, strict=True):
        save_file(dict(_converted(source, group, dtype)), folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(group, file))
    if len(files) > 1:
        total = sum((folder / file).stat().st_size for file in files)
        write_json(folder / f"{SINGLE}.index.json", {"metadata": {"total_size": total}, "weight_map": where})


def files_of_tensors(folder: Path) -> dict[str, Path]:
    """Which safetensors file of a folder holds which tensor."""
    files = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            files.update(dict.fromkeys(tensors.keys(), file))
    return files


def _plan(source: TensorSource, dtype: torch.dtype, max_shard_bytes: int) -> list[list[str]]:
    """The model's names, dealt to shards in their order."""
    plan: list[list[str]] = [[]]
    size = 0
    for name, shape in source.shapes.items():
        tensor_bytes = shape.numel() * dtype.itemsize
        if plan[-1] and size + tensor_bytes > max_shard_bytes:
            plan.append([])
            size = 0
        plan[-1].append(name)
        size += tensor_bytes
    return plan


def _file_names(count: int) -> list[str]:
    if count == 1:
        return [SINGLE]
    return [f"model-{shard:05d}-of-{count:05d}.safetensors" for shard in range(1, count + 1)]


def _converted(source: TensorSource, group: Collection[str], dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in source.read(list(group)):
        if not torch.isfinite(tensor).all():
            raise GuardStop(f"{name} is not finite: the checkpoint is not converted")
        yield name, (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
