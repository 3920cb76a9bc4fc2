"""The weights that a vLLM model computes with, under the names that the policy has for them.

Functions of vLLM's own model, run where it lives (`LLM.apply_model`). vLLM fuses layers (q, k and v are one), splits
them over a tensor-parallel group, and on a CPU packs them away so that no parameter is left to look at: there a
layer's weight is what it makes of the identity matrix, exactly, since every product but one is a product with zero.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from vllm.distributed import get_tp_group
from vllm.model_executor.layers.linear import (
    LinearBase,
    MergedColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding

from rl_core.rollout.fingerprint import Fingerprints, summed, tensor_fingerprint

BLOCK_ELEMENTS = 1 << 24  # of what a layer makes of some rows of the identity


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of a fused layer that belong to one of the policy's tensors."""

    name: str  # of the module, as the policy has it
    start: int  # first row in the fused layer
    rows: int
    first_row: int  # of these in the policy's whole tensor
    counts: bool  # False: another rank of the group holds the same rows, and counts them


def model_fingerprints(model: torch.nn.Module) -> Fingerprints:
    """Of every tensor whole."""
    return over_group(_module_fingerprints(model))


def over_group(own_parts: Iterable[Fingerprints]) -> Fingerprints:
    """Of tensors whole, from the parts of each rank of the tensor-parallel group. A collective call within it."""
    own = summed(own_parts)
    group = get_tp_group()
    if group.world_size == 1:
        return own
    parts: list[Fingerprints] = [{}] * group.world_size
    dist.all_gather_object(parts, own, group=group.cpu_group)
    return summed(parts)


def renew_tied_head(model: Any) -> None:
    """Let a tied output head follow the embedding again.

    On a CPU the head computes with a copy packed from the embedding when the model was first loaded, and vLLM 0.32
    does not renew it when weights are reloaded.
    """
    head, embedding = getattr(model, "lm_head", None), _embedding(model)
    if isinstance(head, ParallelLMHead) and embedding is not None and model.config.tie_word_embeddings:
        head.weight = embedding.weight
        head.quant_method.process_weights_after_loading(head)


def _embedding(model: torch.nn.Module) -> VocabParallelEmbedding | None:
    found = [m for m in model.modules() if isinstance(m, VocabParallelEmbedding) and not isinstance(m, ParallelLMHead)]
    return found[0] if len(found) == 1 else None


def _module_fingerprints(model: torch.nn.Module) -> Iterator[Fingerprints]:
    packed: dict[str, list[str]] = getattr(model, "packed_modules_mapping", {})
    first = get_tp_group().rank_in_group == 0
    for name, module in model.named_modules():
        name = name.replace(".base_layer", "")  # of a layer that adapters are added to
        if isinstance(module, LinearBase):
            yield from _linear_fingerprints(module, slices_of(name, module, packed))
        elif isinstance(module, VocabParallelEmbedding):
            yield _embedding_fingerprint(name, module)
        elif first:  # norms and their like: every rank holds them whole
            for own, parameter in module.named_parameters(recurse=False):
                yield {f"{name}.{own}": tensor_fingerprint(parameter)}


def _linear_fingerprints(module: LinearBase, slices: list[Slice]) -> Iterator[Fingerprints]:
    rank = module.tp_rank
    by_rows = isinstance(module, RowParallelLinear)
    first_column = rank * module.input_size_per_partition if by_rows else 0
    for column, block in _computed_weight(module, module.input_size_per_partition):
        for part in slices:
            value = tensor_fingerprint(
                block[part.start : part.start + part.rows],
                columns=module.input_size,
                first_row=part.first_row,
                first_column=first_column + column,
            )
            yield {f"{part.name}.weight": value if part.counts else 0}
    if module.bias is not None:
        for part in slices:
            counts = part.counts and not (by_rows and rank)
            rows = module.bias[part.start : part.start + part.rows].unsqueeze(-1)
            yield {f"{part.name}.bias": tensor_fingerprint(rows, columns=1, first_row=part.first_row) if counts else 0}


def _embedding_fingerprint(name: str, module: VocabParallelEmbedding) -> Fingerprints:
    """Of the rows that are tokens; vLLM fills them up to a round number."""
    indices = module.shard_indices
    rows = indices.org_vocab_end_index - indices.org_vocab_start_index
    if isinstance(module, ParallelLMHead):
        blocks = _computed_weight(module, module.embedding_dim)
    else:
        blocks = iter([(0, module.weight)])
    return summed(
        {
            f"{name}.weight": tensor_fingerprint(
                block[:rows],
                columns=module.embedding_dim,
                first_row=indices.org_vocab_start_index,
                first_column=column,
            )
        }
        for column, block in blocks
    )


def _computed_weight(module: Any, num_inputs: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The weight [outputs, inputs] that a layer computes with, by blocks of columns: (first column, block)."""
    if not hasattr(module, "cpu_linear"):
        yield 0, module.weight
        return
    identity = torch.eye(num_inputs, dtype=module.params_dtype)
    step = max(1, BLOCK_ELEMENTS // max(1, module.output_size_per_partition))
    for start in range(0, num_inputs, step):
        yield start, module.quant_method.apply(module, identity[start : start + step], None).T


def slices_of(name: str, module: LinearBase, packed: dict[str, list[str]]) -> list[Slice]:
    """Which rows of a layer's shard are which of the policy's tensors."""
    path, _, own = name.rpartition(".")
    names = [f"{path}.{part}" for part in packed.get(own, [own])]
    rank = module.tp_rank
    if isinstance(module, QKVParallelLinear):
        replicas = module.num_kv_head_replicas
        query, key = module.num_heads * module.head_size, module.num_kv_heads * module.head_size
        value, group, counts = module.num_kv_heads * module.v_head_size, rank // replicas, rank % replicas == 0
        return [
            Slice(names[0], 0, query, rank * query, True),
            Slice(names[1], query, key, group * key, counts),
            Slice(names[2], query + key, value, group * value, counts),
        ]
    if isinstance(module, MergedColumnParallelLinear):
        sizes = [size // module.tp_size for size in module.output_sizes]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [Slice(n, start, rows, rank * rows, True) for n, start, rows in zip(names, starts, sizes, strict=True)]
    rows = module.output_size_per_partition
    whole = rows == module.output_size
    by_rows = isinstance(module, RowParallelLinear)
    return [Slice(names[0], 0, rows, 0 if whole else rank * rows, by_rows or not whole or rank == 0)]
