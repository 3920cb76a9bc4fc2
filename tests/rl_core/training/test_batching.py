import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.training.batching import MicroBatch, Sample, micro_batches, split_by_tokens, split_over_ranks

CPU = torch.device("cpu")
lengths_of_sequences = st.lists(st.integers(2, 60), min_size=1, max_size=40)


def sample(number: int, prompt: int, response: int, *, weight: float = 0.5) -> Sample:
    """A sequence whose every number tells which it is."""
    return Sample(
        prompt_ids=[100 * number + place for place in range(prompt)],
        response_ids=[100 * number + 50 + place for place in range(response)],
        sampler_logprobs=[-number - place / 100 for place in range(response)],
        advantage=float(number),
        weight=weight,
    )


def of_lengths(lengths: list[int]) -> list[Sample]:
    return [sample(number, 1, length - 1) for number, length in enumerate(lengths, start=1)]


@given(lengths_of_sequences, st.integers(1, 9))
def test_a_split_over_ranks_is_a_partition_of_even_work(lengths: list[int], num_ranks: int) -> None:
    shares = split_over_ranks(lengths, num_ranks)
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    work = [sum(lengths[index] for index in share) for share in shares]
    assert max(work) - min(work) <= max(lengths)


def test_a_split_over_ranks_by_hand() -> None:
    assert split_over_ranks([3, 10, 4, 6, 1], 2) == [[1, 0], [3, 2, 4]]
    assert split_over_ranks([5], 3) == [[0], [], []]


@given(lengths_of_sequences, st.integers(1, 200))
def test_groups_are_a_partition_within_the_budget(lengths: list[int], max_tokens: int) -> None:
    groups = split_by_tokens(range(len(lengths)), lengths, max_tokens)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= max_tokens


def test_groups_by_hand() -> None:
    assert split_by_tokens([0, 1, 2, 3, 4], [3, 10, 4, 6, 3], 12) == [[1], [3, 2], [0, 4]]
    assert split_by_tokens([], [], 12) == []


@given(lengths_of_sequences, st.integers(1, 6), st.integers(1, 200))
def test_every_rank_has_as_many_micro_batches_and_every_sequence_is_weighed_once(
    lengths: list[int], num_ranks: int, max_tokens: int
) -> None:
    sequences = of_lengths(lengths)
    ranks = [
        micro_batches(sequences, rank=rank, num_ranks=num_ranks, max_tokens=max_tokens, device=CPU)
        for rank in range(num_ranks)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) >= 1
    every = [batch for batches in ranks for batch in batches]
    for batch in every:
        assert batch.tokens.shape[0] == 1 or batch.tokens.numel() <= max_tokens
    # The advantage of a token is the number of its sequence.
    weighed = torch.cat([batch.advantages[batch.weights > 0] for batch in every]).tolist()
    expected = [number for number, length in enumerate(lengths, start=1) for _ in range(length - 1)]
    assert sorted(weighed) == expected


def only_batch(sequences: list[Sample]) -> MicroBatch:
    (batch,) = micro_batches(sequences, rank=0, num_ranks=1, max_tokens=1000, device=CPU)
    return batch


def test_a_micro_batch_by_hand() -> None:
    batch = only_batch([sample(1, 2, 1, weight=0.25), sample(2, 1, 3, weight=0.125)])
    assert batch.tokens.tolist() == [[200, 250, 251, 252], [100, 101, 150, 0]]
    assert batch.response_mask.tolist() == [[False, True, True, True], [False, False, True, False]]
    assert batch.sampler_logprobs.tolist() == pytest.approx([-2.0, -2.01, -2.02, -1.0])
    assert batch.advantages.tolist() == [2, 2, 2, 1]
    assert batch.weights.tolist() == [0.125, 0.125, 0.125, 0.25]
    assert batch.response_lengths.tolist() == [3, 1]
    assert (batch.old_logprobs, batch.ref_logprobs) == (None, None)


def test_a_rank_without_work_repeats_a_short_sequence_that_weighs_nothing() -> None:
    (idle,) = micro_batches([sample(1, 5, 5), sample(2, 1, 1)], rank=2, num_ranks=3, max_tokens=100, device=CPU)
    assert idle.tokens.tolist() == [[200, 250]]
    assert idle.weights.tolist() == [0.0]
