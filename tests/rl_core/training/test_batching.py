import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.training.batching import MicroBatch, Sample, micro_batches
from rl_core.training.grouping import Layout

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


@given(lengths_of_sequences, st.integers(1, 6), st.integers(1, 200), st.booleans())
def test_every_rank_has_as_many_micro_batches_and_every_sequence_is_weighed_once(
    lengths: list[int], num_ranks: int, max_tokens: int, packed: bool
) -> None:
    sequences, layout = of_lengths(lengths), Layout(max_tokens, packed=packed)
    ranks = [micro_batches(sequences, layout, rank=rank, num_ranks=num_ranks, device=CPU) for rank in range(num_ranks)]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) >= 1
    every = [batch for batches in ranks for batch in batches]
    for batch in every:
        assert len(batch.response_lengths) == 1 or batch.tokens.numel() <= max_tokens
    # What is not waste is every sequence once.
    assert sum(int((~batch.waste_mask).sum()) for batch in every) == sum(lengths)
    # The advantage of a token is the number of its sequence.
    weighed = torch.cat([batch.advantages[batch.weights > 0] for batch in every]).tolist()
    expected = [number for number, length in enumerate(lengths, start=1) for _ in range(length - 1)]
    assert sorted(weighed) == expected


def only_batch(sequences: list[Sample], *, packed: bool = False) -> MicroBatch:
    (batch,) = micro_batches(sequences, Layout(1000, packed=packed), rank=0, num_ranks=1, device=CPU)
    return batch


def test_a_bucket_by_hand() -> None:
    batch = only_batch([sample(1, 2, 1, weight=0.25), sample(2, 1, 3, weight=0.125)])
    assert batch.tokens.tolist() == [[200, 250, 251, 252], [100, 101, 150, 0]]
    assert batch.response_mask.tolist() == [[False, True, True, True], [False, False, True, False]]
    assert batch.waste_mask.tolist() == [[False, False, False, False], [False, False, False, True]]
    assert batch.packed_lengths is None
    assert batch.sampler_logprobs.tolist() == pytest.approx([-2.0, -2.01, -2.02, -1.0])
    assert batch.advantages.tolist() == [2, 2, 2, 1]
    assert batch.weights.tolist() == [0.125, 0.125, 0.125, 0.25]
    assert batch.response_lengths.tolist() == [3, 1]
    assert (batch.old_logprobs, batch.ref_logprobs) == (None, None)


def test_a_packed_row_holds_the_same_numbers_end_to_end() -> None:
    sequences = [sample(1, 2, 1, weight=0.25), sample(2, 1, 3, weight=0.125)]
    batch, bucket = only_batch(sequences, packed=True), only_batch(sequences)
    assert batch.tokens.tolist() == [[200, 250, 251, 252, 100, 101, 150]]
    assert batch.response_mask.tolist() == [[False, True, True, True, False, False, True]]
    assert not batch.waste_mask.any()
    assert batch.packed_lengths == (4, 3)
    for name in ("sampler_logprobs", "advantages", "weights", "response_lengths"):
        assert torch.equal(getattr(batch, name), getattr(bucket, name)), name


@pytest.mark.parametrize("packed", [False, True])
def test_a_rank_without_work_repeats_a_short_sequence_that_weighs_nothing(packed: bool) -> None:
    layout = Layout(100, packed=packed)
    (idle,) = micro_batches([sample(1, 5, 5), sample(2, 1, 1)], layout, rank=2, num_ranks=3, device=CPU)
    assert idle.tokens.tolist() == [[200, 250]]
    assert idle.weights.tolist() == [0.0]
    assert idle.waste_mask.all()
