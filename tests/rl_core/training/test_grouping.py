from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_core.training.grouping import EMPTY_PASS, Layout, split_by_tokens, split_over_ranks

INFINITE = float("inf")
lengths_of_sequences = st.lists(st.integers(2, 60), min_size=1, max_size=40)


@given(lengths_of_sequences, st.integers(1, 9), st.sampled_from([10.0, 100.0, INFINITE]))
def test_a_split_over_ranks_is_a_partition_of_even_work(
    lengths: list[int], num_ranks: int, attention_tokens: float
) -> None:
    shares = split_over_ranks(lengths, num_ranks, attention_tokens)
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    work = [length + length**2 / attention_tokens for length in lengths]
    of_ranks = [sum(work[index] for index in share) for share in shares]
    assert max(of_ranks) - min(of_ranks) <= max(work) + 1e-6


def test_a_split_over_ranks_by_hand() -> None:
    assert split_over_ranks([3, 10, 4, 6, 1], 2, INFINITE) == [[1, 0], [3, 2, 4]]
    assert split_over_ranks([5], 3, INFINITE) == [[0], [], []]


def test_attention_makes_one_long_sequence_more_work_than_two_of_half_its_length() -> None:
    lengths = [8, 4, 4, 4]
    assert split_over_ranks(lengths, 2, INFINITE) == [[0, 3], [1, 2]]  # 12 tokens and 8
    assert split_over_ranks(lengths, 2, 4.0) == [[0], [1, 2, 3]]  # 8 + 64 / 4 = 24, and 3 x (4 + 16 / 4) = 24


@given(lengths_of_sequences, st.integers(1, 200), st.booleans())
def test_groups_are_a_partition_within_the_budget(lengths: list[int], max_tokens: int, packed: bool) -> None:
    groups = split_by_tokens(range(len(lengths)), lengths, Layout(max_tokens, packed=packed))
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        of_group = [lengths[index] for index in group]
        tokens = sum(of_group) if packed else len(group) * max(of_group)
        assert len(group) == 1 or tokens <= max_tokens


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 1000))
def test_no_other_cut_of_the_sorted_lengths_costs_less_than_the_buckets(lengths: list[int], max_tokens: int) -> None:
    def cost(groups: list[list[int]]) -> float:
        padded = [len(group) * max(group) for group in groups]
        if any(tokens > max_tokens and len(group) > 1 for tokens, group in zip(padded, groups, strict=True)):
            return INFINITE
        return sum(padded) + EMPTY_PASS * max_tokens * len(groups)

    ordered = sorted(lengths)
    every = [
        cost([ordered[begin:end] for begin, end in zip((0, *cuts), (*cuts, len(ordered)), strict=True)])
        for count in range(len(ordered))
        for cuts in combinations(range(1, len(ordered)), count)
    ]
    groups = split_by_tokens(range(len(lengths)), lengths, Layout(max_tokens))
    assert cost([[lengths[index] for index in group] for group in groups]) == pytest.approx(min(every))


def test_buckets_by_hand() -> None:
    lengths = [3, 10, 4, 6, 3]
    assert split_by_tokens([0, 1, 2, 3, 4], lengths, Layout(12)) == [[1], [3], [2], [0, 4]]  # nothing padded
    # Where an empty pass costs 20 tokens: one bucket 50 + 20, two of 20 + 12 tokens or 10 + 24 are dearer by 2 and 4.
    assert split_by_tokens([0, 1, 2, 3, 4], lengths, Layout(20 * 64)) == [[1, 3, 2, 0, 4]]
    assert split_by_tokens([], [], Layout(12)) == []


def test_packs_by_hand() -> None:
    lengths = [3, 10, 4, 6, 3, 40]
    assert split_by_tokens([0, 1, 2, 3, 4, 5], lengths, Layout(13, packed=True)) == [[5], [1, 0], [3, 2, 4]]
    assert split_by_tokens([], [], Layout(12, packed=True)) == []
