"""From sequences to micro-batches: the tensors of each forward pass of this rank.

Which sequences are together is decided in `grouping`. Nothing here changes what is computed: weights of tokens are
fixed before, over the whole update.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from rl_core.training.grouping import Layout, split_by_tokens, split_over_ranks


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and response, with all that the loss needs to know of it."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    sampler_logprobs: Sequence[float]  # of the response
    advantage: float  # of each response token; where credit is given by token, it comes later
    row: int = 0  # among the responses of its step
    prompt: int = 0  # among the prompts of its step
    reward: float = math.nan  # NaN: unscored
    trained: bool = True  # False: it has no gradient, and counts in no denominator
    weight: float = 0.0  # of each response token in the loss of its update

    @property
    def num_tokens(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """S sequences of one forward pass, in B rows of T tokens; N response tokens laid end to end.

    In buckets each sequence has a row (B = S), padded on the right; packed, all lie end to end in one (B = 1).
    """

    tokens: torch.Tensor  # [B, T] long, 0 where padded
    response_mask: torch.Tensor  # [B, T] bool, True on response tokens
    waste_mask: torch.Tensor  # [B, T] bool, True on padding, and where a sequence is only there to keep ranks in step
    packed_lengths: tuple[int, ...] | None  # of the S sequences in the one row; None in buckets
    sampler_logprobs: torch.Tensor  # [N]
    advantages: torch.Tensor  # [N]
    weights: torch.Tensor  # [N]; zero where a sequence is only there to keep the ranks in step
    response_lengths: torch.Tensor  # [S] long, in the order of the response tokens; they sum to N
    rows: tuple[int, ...]  # [S] each sequence's place among the responses of the step
    rewards: torch.Tensor  # [S] NaN where unscored, or only there to keep the ranks in step
    old_logprobs: torch.Tensor | None = None  # [N]
    ref_logprobs: torch.Tensor | None = None  # [N]
    old_values: torch.Tensor | None = None  # [N] of the critic, before the step's first update
    returns: torch.Tensor | None = None  # [N] what the critic learns
    value_weights: torch.Tensor | None = None  # [N] in the critic's loss

    @property
    def scored_mask(self) -> torch.Tensor:
        """[N] bool, True on the tokens of scored responses."""
        return self.rewards.isnan().logical_not().repeat_interleave(self.response_lengths)


def micro_batches(
    sequences: Sequence[Sample], layout: Layout, *, rank: int, num_ranks: int, device: torch.device
) -> list[MicroBatch]:
    """This rank's micro-batches of one update: at least one, and as many as on every other rank.

    Where a rank has fewer, it repeats a sequence with weight zero: collectives need every rank.
    """
    lengths = [sequence.num_tokens for sequence in sequences]
    shares = split_over_ranks(lengths, num_ranks, layout.attention_tokens)
    groups = [split_by_tokens(share, lengths, layout) for share in shares]
    count = max(1, *(len(group) for group in groups))
    own = [_micro_batch([sequences[index] for index in group], layout, device) for group in groups[rank]]
    shortest = min(sequences, key=lambda sequence: sequence.num_tokens)
    idle = [_weightless(_micro_batch([shortest], layout, device))] * (count - len(own))
    return own + idle


def _micro_batch(chosen: Sequence[Sample], layout: Layout, device: torch.device) -> MicroBatch:
    lengths = tuple(sequence.num_tokens for sequence in chosen)
    rows, columns = (1, sum(lengths)) if layout.packed else (len(chosen), max(lengths))
    tokens = torch.zeros(rows, columns, dtype=torch.long)
    response_mask = torch.zeros(rows, columns, dtype=torch.bool)
    waste_mask = torch.ones(rows, columns, dtype=torch.bool)
    starts = [0, *accumulate(lengths)]
    for place, sequence in enumerate(chosen):
        assert sequence.prompt_ids, "the first token of a response is predicted from a prompt"
        row, start = (0, starts[place]) if layout.packed else (place, 0)
        response_start, end = start + len(sequence.prompt_ids), start + sequence.num_tokens
        tokens[row, start:end] = torch.tensor([*sequence.prompt_ids, *sequence.response_ids])
        response_mask[row, response_start:end] = True
        waste_mask[row, start:end] = False
    counts = torch.tensor([len(sequence.response_ids) for sequence in chosen])
    sampler_logprobs = torch.tensor([logprob for sequence in chosen for logprob in sequence.sampler_logprobs])
    return MicroBatch(
        tokens=tokens.to(device),
        response_mask=response_mask.to(device),
        waste_mask=waste_mask.to(device),
        packed_lengths=lengths if layout.packed else None,
        sampler_logprobs=sampler_logprobs.to(device),
        advantages=torch.tensor([sequence.advantage for sequence in chosen]).repeat_interleave(counts).to(device),
        weights=torch.tensor([sequence.weight for sequence in chosen]).repeat_interleave(counts).to(device),
        response_lengths=counts.to(device),
        rows=tuple(sequence.row for sequence in chosen),
        rewards=torch.tensor([sequence.reward for sequence in chosen], dtype=torch.float32).to(device),
    )


def _weightless(batch: MicroBatch) -> MicroBatch:
    return replace(
        batch,
        weights=torch.zeros_like(batch.weights),
        waste_mask=torch.ones_like(batch.waste_mask),
        rewards=torch.full_like(batch.rewards, math.nan),
    )
