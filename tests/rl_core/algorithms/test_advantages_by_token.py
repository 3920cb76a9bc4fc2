"""Credit along the tokens of a response: by hand, against sums written out, and independent of its neighbours."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.algorithms.advantages import at_last_token, discounted_returns, generalized_advantages, moments, whiten
from tests.rl_core.algorithms import oracles

ROUNDING = 1e-9  # of float64, over some ten terms


def doubles(numbers: list[float]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_a_reward_lies_on_its_responses_last_token() -> None:
    rewards = at_last_token(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3, 1, 2]))
    assert rewards.tolist() == [0, 0, 1, -2, 0, 0.5]


def test_returns_by_hand() -> None:
    # The first response: 1, then 2 + 1/2 * 1, then 4 + 1/2 * 2.5; the second begins anew.
    returns = discounted_returns(doubles([4, 2, 1, 8, 0]), torch.tensor([3, 2]), 0.5)
    assert returns.tolist() == [5.25, 2.5, 1, 8, 0]
    assert discounted_returns(doubles([4, 2, 1, 8, 0]), torch.tensor([3, 2]), 1.0).tolist() == [7, 3, 1, 8, 0]


def test_generalized_advantages_by_hand() -> None:
    # discount 1/2, lambda 1/2. Deltas: 0 + 4/2 - 1 = 1, 0 + 8/2 - 4 = 0, 10 - 8 = 2; the other response: 3 - 1 = 2.
    # Backward: 2, 0 + 2/4, 1 + 0.5/4.
    advantages, returns = generalized_advantages(
        doubles([0, 0, 10, 3]), doubles([1, 4, 8, 1]), torch.tensor([3, 1]), 0.5, 0.5
    )
    assert advantages.tolist() == [1.125, 0.5, 2, 2]
    assert returns.tolist() == [2.125, 4.5, 10, 3]


def test_lambda_one_is_return_minus_value_and_lambda_zero_one_step_ahead() -> None:
    rewards, values, lengths = doubles([1, 0, 2, 5]), doubles([0.5, 1, 3, -1]), torch.tensor([3, 1])
    far, returns = generalized_advantages(rewards, values, lengths, 0.9, 1.0)
    torch.testing.assert_close(returns, discounted_returns(rewards, lengths, 0.9))
    torch.testing.assert_close(far, returns - values)
    near, _ = generalized_advantages(rewards, values, lengths, 0.9, 0.0)
    torch.testing.assert_close(near, doubles([1 + 0.9 * 1 - 0.5, 0.9 * 3 - 1, 2 - 3, 5 + 1]))


def test_a_response_without_a_reward_leaves_its_neighbours_alone() -> None:
    token_rewards = at_last_token(torch.tensor([math.nan, 1.0]), torch.tensor([2, 2]))
    assert discounted_returns(token_rewards, torch.tensor([2, 2]), 1.0)[2:].tolist() == [1, 1]
    advantages, _ = generalized_advantages(token_rewards, torch.zeros(4), torch.tensor([2, 2]), 1.0, 0.95)
    assert advantages[2:].tolist() == pytest.approx([0.95, 1])


tokens = st.tuples(st.floats(-3, 3), st.floats(-3, 3))  # reward and value
batches = st.lists(st.lists(tokens, min_size=1, max_size=7), min_size=1, max_size=5)


@given(batches, st.floats(0, 1), st.floats(0, 1))
def test_each_response_has_the_sums_written_out_whatever_lies_beside_it(
    responses: list[list[tuple[float, float]]], discount: float, gae_lambda: float
) -> None:
    lengths = torch.tensor([len(response) for response in responses])
    rewards, values = doubles([pair for response in responses for pair in response]).T
    advantages, returns = generalized_advantages(rewards, values, lengths, discount, gae_lambda)
    expected = [oracles.gae(*zip(*response, strict=True), discount, gae_lambda) for response in responses]
    flat = [advantage for response in expected for advantage in response]
    assert advantages.tolist() == pytest.approx(flat, abs=ROUNDING)
    assert returns.tolist() == pytest.approx([a + v for a, v in zip(flat, values.tolist(), strict=True)], abs=ROUNDING)
    togo = [oracles.discounted([reward for reward, _ in response], discount) for response in responses]
    assert discounted_returns(rewards, lengths, discount).tolist() == pytest.approx(
        [value for response in togo for value in response], abs=ROUNDING
    )


def test_whitening_by_hand() -> None:
    # 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9, variance 14 / 3.
    values = doubles([1, 2, 3, 6])
    sums = moments(values, torch.ones(4, dtype=torch.bool))
    assert sums == (4, 12, 50)
    scale = 1 / math.sqrt(14 / 3 + 1e-8)
    white = whiten(values, count=sums[0], total=sums[1], total_of_squares=sums[2])
    assert white.tolist() == pytest.approx([-2 * scale, -scale, 0, 3 * scale])


def test_what_is_masked_enters_no_sum() -> None:
    values = doubles([1, math.nan, 3, 100])
    assert moments(values, torch.tensor([True, False, True, False])) == (2, 4, 10)
    assert moments(values, torch.zeros(4, dtype=torch.bool)) == (0, 0, 0)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 77777.7])
@pytest.mark.parametrize("count", [1, 2, 4097])
def test_without_spread_whitening_only_centres(value: float, count: int) -> None:
    values = torch.full((count,), value)
    sums = moments(values, torch.ones(count, dtype=torch.bool))
    beside = torch.cat([values, values[:1] + 1])  # one more, which is not counted
    white = whiten(beside, count=sums[0], total=sums[1], total_of_squares=sums[2])
    assert white[:-1].abs().max().item() <= abs(value) * 1e-9
    assert white[-1].item() == pytest.approx(1, abs=1e-6)


def test_of_no_value_at_all_there_is_no_mean_to_subtract() -> None:
    assert whiten(doubles([2, 3]), count=0, total=0, total_of_squares=0).tolist() == [2, 3]


@given(st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=30), st.integers(1, 29))
def test_how_values_are_split_over_ranks_and_micro_batches_does_not_matter(numbers: list[float], cut: int) -> None:
    values = doubles(numbers)
    parts = [part for part in (values[:cut], values[cut:]) if len(part)]
    sums = [moments(part, torch.ones(len(part), dtype=torch.bool)) for part in parts]
    count, total, squares = (math.fsum(each) for each in zip(*sums, strict=True))
    white = torch.cat([whiten(part, count=count, total=total, total_of_squares=squares) for part in parts])
    variance = values.var().item()
    if variance > 1e-6:
        assert white.mean().item() == pytest.approx(0, abs=1e-6)
        assert white.var().item() == pytest.approx(variance / (variance + 1e-8), rel=1e-6)
