"""Fingerprints of weights, compared between learner and sampler after each synchronisation.

Peers have trained for weeks against a sampler that never received an update; a number per tensor would have shown it.
A fingerprint is a sum over the tensor's bits in integers, modulo 2^64: equal tensors have equal ones, in whatever order
and on whatever device they are computed, and that of a whole tensor is the sum of its parts'.
"""

from collections.abc import Iterable

import torch

from rl_core.errors import GuardStop

Fingerprints = dict[str, int]  # by parameter name

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an element
CHUNK_ELEMENTS = 1 << 22
FACTOR = 0x3C6EF372FE94F82A  # 2^65 over the golden ratio, modulo 2^64: even, and far from small multiples of 2^64


def tensor_fingerprint(
    part: torch.Tensor, *, columns: int | None = None, first_row: int = 0, first_column: int = 0
) -> int:
    """Sum of bits(x_i) * (FACTOR * i + 1) mod 2^64 over the elements, i being the place in the whole tensor.

    What the bits are multiplied by is odd, so that a change of any one value changes the sum; and differs from place to
    place, so that values which change places do. Minus zero counts as zero.

    Args:
        part: the whole tensor, or a rectangle of one with two dimensions.
        columns: of the whole; default: those of the part.
        first_row, first_column: where the part begins in the whole.

    Returns:
        A signed 64-bit number. Zero for an empty part.
    """
    if part.numel() == 0:
        return 0
    rows = part.detach().reshape(1, -1) if part.dim() < 2 else part.detach().flatten(1)
    columns = rows.shape[1] if columns is None else columns
    place_in_row = torch.arange(first_column, first_column + rows.shape[1], device=part.device)
    total = torch.zeros((), dtype=torch.int64, device=part.device)
    step = max(1, CHUNK_ELEMENTS // rows.shape[1])
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        bits = (chunk + 0.0).view(BITS[chunk.element_size()]).long()
        row = torch.arange(first_row + start, first_row + start + len(chunk), device=part.device)
        place = row.unsqueeze(-1) * columns + place_in_row
        total += (bits * (place * FACTOR + 1)).sum()
    return int(total)


def summed(parts: Iterable[Fingerprints]) -> Fingerprints:
    """The fingerprints of whole tensors from those of their parts."""
    totals: Fingerprints = {}
    for part in parts:
        for name, value in part.items():
            totals[name] = _signed(totals.get(name, 0) + value)
    return totals


def require_equal(learner: Fingerprints, sampler: Fingerprints, *, policy_version: int) -> None:
    """Stop the run when the sampler does not hold the learner's weights.

    Raises:
        GuardStop: names the tensors that differ.
    """
    different = [name for name, value in learner.items() if sampler.get(name) != value]
    if different:
        raise GuardStop(
            f"the sampler does not hold the weights of policy version {policy_version}: {len(different)} of "
            f"{len(learner)} tensors differ, first {different[0]}"
        )


def _signed(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
