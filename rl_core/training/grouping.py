"""Which sequences are computed together, by their lengths alone: over ranks, and on a rank in forward passes.

Pure functions of integers. What is made of the groups is in `batching`; nothing here changes what is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# What a forward and backward pass costs before its first token, as a share of a full one: launching its operations,
# and under ZeRO-3 gathering the parameters. On two CPU cores, with 128 hidden units, any share between 1/256 and 1/32
# takes the same time within 10 %.
EMPTY_PASS = 1 / 64


@dataclass(frozen=True, slots=True)
class Layout:
    """How sequences are laid out in forward passes."""

    max_tokens: int  # of one pass: without padding where packed, with it in buckets
    packed: bool = False  # sequences end to end in one row, or one sequence to a row and the rows padded alike
    # Length at which attention, which grows with the square, costs as much as everything else.
    attention_tokens: float = float("inf")

    def __str__(self) -> str:
        return f"{'packed rows' if self.packed else 'buckets'} of up to {self.max_tokens} tokens"


def split_over_ranks(lengths: Sequence[int], num_ranks: int, attention_tokens: float) -> list[list[int]]:
    """Indices for each rank: the longest remaining sequence goes to the rank with the least work so far.

    A sequence of L tokens is work of L + L^2 / attention_tokens.
    """
    shares: list[list[int]] = [[] for _ in range(num_ranks)]
    work = [0.0] * num_ranks
    for index in _longest_first(range(len(lengths)), lengths):
        rank = work.index(min(work))
        shares[rank].append(index)
        work[rank] += lengths[index] * (1 + lengths[index] / attention_tokens)
    return shares


def split_by_tokens(indices: Sequence[int], lengths: Sequence[int], layout: Layout) -> list[list[int]]:
    """Groups for one forward pass each, within the layout's tokens; a longer sequence is alone in its group."""
    split = _packs if layout.packed else _buckets
    return split(_longest_first(indices, lengths), lengths, layout.max_tokens)


def _longest_first(indices: Sequence[int], lengths: Sequence[int]) -> list[int]:
    return sorted(indices, key=lambda index: (-lengths[index], index))


def _packs(ordered: list[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Each sequence, longest first, into the first pack that has room: at most 11/9 of the fewest packs, and one."""
    packs: list[list[int]] = []
    room: list[int] = []
    for index in ordered:
        place = next((place for place, left in enumerate(room) if lengths[index] <= left), len(packs))
        if place == len(packs):
            packs.append([])
            room.append(max_tokens)
        packs[place].append(index)
        room[place] -= lengths[index]
    return packs


def _buckets(ordered: list[int], lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """The groups of alike length that cost least: padded tokens, and an empty pass for each.

    Exact: the cheapest way to group the first `end` sequences, for every `end` in turn, from those before.
    """
    cost, begin_of = [0.0], [0]
    for end in range(1, len(ordered) + 1):
        best, best_begin = float("inf"), end - 1
        for begin in range(end - 1, -1, -1):
            padded = (end - begin) * lengths[ordered[begin]]
            if padded > max_tokens and end - begin > 1:
                break
            if cost[begin] + padded < best:
                best, best_begin = cost[begin] + padded, begin
        cost.append(best + EMPTY_PASS * max_tokens)
        begin_of.append(best_begin)
    groups, end = [], len(ordered)
    while end:
        groups.append(ordered[begin_of[end] : end])
        end = begin_of[end]
    return groups[::-1]
