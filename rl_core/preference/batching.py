"""From tokenized pairs to the tensors of each forward pass of this rank.

Both responses of a pair are in one forward pass, so that its loss is known there. Nothing here changes what is
computed: the weight of a pair is fixed before, over the whole update.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from rl_core.training.grouping import Layout, split_by_tokens, split_over_ranks


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """The two conversations of a pair as token ids: prompt, response, and what the chat template ends with."""

    place: int  # among the pairs of its file
    chosen_ids: Sequence[int]
    rejected_ids: Sequence[int]
    weight: float = 1.0  # in the loss of its update

    @property
    def num_tokens(self) -> int:
        return len(self.chosen_ids) + len(self.rejected_ids)

    @property
    def longest(self) -> int:
        return max(len(self.chosen_ids), len(self.rejected_ids))


@dataclass(frozen=True, slots=True)
class PairBatch:
    """P pairs of one forward pass: 2P sequences, chosen and rejected in turn, in B rows of T tokens.

    In buckets each sequence has a row (B = 2P), padded on the right; packed, all lie end to end in one (B = 1).
    """

    tokens: torch.Tensor  # [B, T] long, 0 where padded
    ends: torch.Tensor  # [2P] long, places of the last tokens in `tokens` laid out row by row
    packed_lengths: tuple[int, ...] | None  # of the 2P sequences in the one row; None in buckets
    weights: torch.Tensor  # [P] zero where a pair is only there to keep the ranks in step
    places: tuple[int, ...]  # [P] each pair's place among those of its file; none where it is only there for that


def pair_batches(
    pairs: Sequence[TokenizedPair], layout: Layout, *, rank: int, num_ranks: int, device: torch.device
) -> list[PairBatch]:
    """This rank's forward passes over some pairs: at least one, and as many as on every other rank.

    Where a rank has fewer, it repeats a pair with weight zero: collectives need every rank.
    """
    shares = split_over_ranks([pair.num_tokens for pair in pairs], num_ranks, layout.attention_tokens)
    groups = [_groups(share, pairs, layout) for share in shares]
    count = max(1, *(len(group) for group in groups))
    own = [_pair_batch([pairs[place] for place in group], layout, device) for group in groups[rank]]
    shortest = min(pairs, key=lambda pair: pair.num_tokens)
    idle = _pair_batch([shortest], layout, device)
    idle = replace(idle, weights=torch.zeros_like(idle.weights), places=())
    return own + [idle] * (count - len(own))


def _groups(share: Sequence[int], pairs: Sequence[TokenizedPair], layout: Layout) -> list[list[int]]:
    """Within the layout's tokens, in which a pair takes both its sequences; in buckets both as long as the longer."""
    lengths = [pair.num_tokens if layout.packed else 2 * pair.longest for pair in pairs]
    return split_by_tokens(share, lengths, layout)


def _pair_batch(pairs: Sequence[TokenizedPair], layout: Layout, device: torch.device) -> PairBatch:
    sequences = [ids for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids)]
    lengths = tuple(map(len, sequences))
    rows, columns = (1, sum(lengths)) if layout.packed else (len(lengths), max(lengths))
    tokens = torch.zeros(rows, columns, dtype=torch.long)
    starts = [0, *accumulate(lengths)]
    ends = []
    for place, sequence in enumerate(sequences):
        row, start = (0, starts[place]) if layout.packed else (place, 0)
        tokens[row, start : start + len(sequence)] = torch.tensor(sequence)
        ends.append(row * columns + start + len(sequence) - 1)
    return PairBatch(
        tokens=tokens.to(device),
        ends=torch.tensor(ends, device=device),
        packed_lengths=lengths if layout.packed else None,
        weights=torch.tensor([pair.weight for pair in pairs], device=device),
        places=tuple(pair.place for pair in pairs),
    )
