"""From sequences to micro-batches: who computes which, side by side with what, under a budget of padded tokens.

Nothing here changes what is computed: weights of tokens are fixed before, over the whole update.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and response, with all that the loss needs to know of it."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    sampler_logprobs: Sequence[float]  # of the response
    advantage: float
    weight: float = 0.0  # of each response token in the loss of its update

    @property
    def num_tokens(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Sequences of one forward pass. B sequences, T tokens, N response tokens laid end to end."""

    tokens: torch.Tensor  # [B, T] long, padded on the right with 0
    response_mask: torch.Tensor  # [B, T] bool, True on response tokens
    sampler_logprobs: torch.Tensor  # [N]
    advantages: torch.Tensor  # [N]
    weights: torch.Tensor  # [N]; zero where a sequence is only there to keep the ranks in step
    response_lengths: torch.Tensor  # [B] long, of the sequences in the order of the response tokens; they sum to N
    old_logprobs: torch.Tensor | None = None  # [N]
    ref_logprobs: torch.Tensor | None = None  # [N]


def split_over_ranks(lengths: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Indices for each rank: the longest remaining sequence goes to the rank with the least work so far."""
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    work = [0] * num_ranks
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        rank = work.index(min(work))
        shares[rank].append(index)
        work[rank] += lengths[index]
    return shares


def split_by_tokens(indices: Sequence[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Groups of alike length whose padded size stays within `max_tokens`; a longer sequence is alone in its group."""
    groups: list[list[int]] = []
    for index in sorted(indices, key=lambda index: -lengths[index]):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def micro_batches(
    sequences: Sequence[Sample], *, rank: int, num_ranks: int, max_tokens: int, device: torch.device
) -> list[MicroBatch]:
    """This rank's micro-batches of one update: at least one, and as many as on every other rank.

    Where a rank has fewer, it repeats a sequence with weight zero: collectives need every rank.
    """
    lengths = [sequence.num_tokens for sequence in sequences]
    groups = [split_by_tokens(share, lengths, max_tokens) for share in split_over_ranks(lengths, num_ranks)]
    count = max(1, *(len(group) for group in groups))
    own = [_micro_batch(sequences, group, device) for group in groups[rank]]
    shortest = min(range(len(sequences)), key=lambda index: lengths[index])
    idle = [_weightless(_micro_batch(sequences, [shortest], device))] * (count - len(own))
    return own + idle


def _micro_batch(sequences: Sequence[Sample], indices: Sequence[int], device: torch.device) -> MicroBatch:
    chosen = [sequences[index] for index in indices]
    length = max(sequence.num_tokens for sequence in chosen)
    tokens = torch.zeros(len(chosen), length, dtype=torch.long)
    mask = torch.zeros(len(chosen), length, dtype=torch.bool)
    for row, sequence in enumerate(chosen):
        tokens[row, : sequence.num_tokens] = torch.tensor([*sequence.prompt_ids, *sequence.response_ids])
        mask[row, len(sequence.prompt_ids) : sequence.num_tokens] = True
    counts = torch.tensor([len(sequence.response_ids) for sequence in chosen])
    sampler_logprobs = torch.tensor([logprob for sequence in chosen for logprob in sequence.sampler_logprobs])
    return MicroBatch(
        tokens=tokens.to(device),
        response_mask=mask.to(device),
        sampler_logprobs=sampler_logprobs.to(device),
        advantages=torch.tensor([sequence.advantage for sequence in chosen]).repeat_interleave(counts).to(device),
        weights=torch.tensor([sequence.weight for sequence in chosen]).repeat_interleave(counts).to(device),
        response_lengths=counts.to(device),
    )


def _weightless(batch: MicroBatch) -> MicroBatch:
    return replace(batch, weights=torch.zeros_like(batch.weights))
