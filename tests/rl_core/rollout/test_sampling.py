import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_core.rollout.engine import Sampling
from rl_core.rollout.sampling import BLOCK_TOKENS, UniformStreams, sample

CPU = torch.device("cpu")
FLOAT32 = 1e-5
GOLDEN = 0x9E3779B97F4A7C15
DRAWS = 20_000
FOUR_ERRORS = 4 * math.sqrt(0.25 / DRAWS)  # of a frequency, at its widest


def nucleus(probabilities: list[float], top_p: float) -> list[float]:
    """By brute force: of all sets of likeliest tokens, the smallest whose sum reaches top_p, renormalised."""
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
    for size in range(1, len(order) + 1):
        if math.fsum(probabilities[token] for token in order[:size]) >= top_p:
            break
    kept = set(order[:size])
    total = math.fsum(probabilities[token] for token in kept)
    return [probability / total if token in kept else 0.0 for token, probability in enumerate(probabilities)]


def distribution(logits: list[float], sampling: Sampling) -> list[float]:
    """What `sample` draws from: each token's probability by the uniform numbers that lead to it, and as it says."""
    uniforms = torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1] + 1 / 8000
    tokens, logprobs = sample(torch.tensor([logits] * len(uniforms)), sampling, uniforms)
    shares = torch.bincount(tokens, minlength=len(logits)).double() / len(uniforms)
    said = torch.zeros(len(logits), dtype=torch.float64).index_put_((tokens,), logprobs.double().exp())
    assert float((shares - said).abs().max()) < 1 / 2000
    return said.tolist()


def test_temperature_divides_the_logits() -> None:
    logits = [0.0, 1.0, -1.0]
    weights = [math.exp(logit / 0.5) for logit in logits]
    assert distribution(logits, Sampling(0.5)) == pytest.approx([w / sum(weights) for w in weights], abs=FLOAT32)


@pytest.mark.parametrize("top_p", [0.05, 0.49, 0.51, 0.79, 0.81, 0.94, 0.96, 0.999, 1.0])
def test_top_p_keeps_the_smallest_set_of_likeliest_tokens_that_reaches_it(top_p: float) -> None:
    probabilities = [0.15, 0.5, 0.05, 0.3]
    got = distribution([math.log(p) for p in probabilities], Sampling(1.0, top_p))
    assert got == pytest.approx(nucleus(probabilities, top_p), abs=FLOAT32)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=12, unique=True), st.integers(1, 99))
def test_top_p_against_brute_force(weights: list[int], percent: int) -> None:
    # Halfway between two shares of the total: rounding cannot decide what belongs to the nucleus.
    probabilities = [weight / sum(weights) for weight in weights]
    top_p = (math.floor(percent / 100 * sum(weights)) + 0.5) / sum(weights)
    if top_p >= 1:
        return
    logits = torch.tensor([[math.log(p) for p in probabilities]]).expand(64, -1)
    tokens, logprobs = sample(logits, Sampling(1.0, top_p), torch.linspace(0, 0.999, 64, dtype=torch.float64))
    expected = nucleus(probabilities, top_p)
    assert {token for token in tokens.tolist() if expected[token] == 0} == set()
    assert logprobs.exp().tolist() == pytest.approx([expected[token] for token in tokens.tolist()], rel=1e-4)


def test_temperature_zero_takes_the_likeliest_with_its_log_probability_at_temperature_one() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]])
    tokens, logprobs = sample(logits, Sampling(0.0), torch.tensor([0.99, 0.99], dtype=torch.float64))
    assert tokens.tolist() == [1, 0]
    assert logprobs.tolist() == pytest.approx([-math.log(1 + math.e**-2 + math.e**-1), -math.log(1 + 2 * math.e**-5)])


def test_impossible_tokens_are_never_drawn_not_even_by_the_ends_of_the_interval() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]]).expand(3, -1)
    ends = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert sample(logits, Sampling(), ends)[0].tolist() == [1, 3, 3]


def test_frequencies_are_the_probabilities() -> None:
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0, -4.0])
    streams = UniformStreams(range(DRAWS // 100), CPU)
    counts = torch.zeros(5, dtype=torch.long)
    for index in range(100):
        chosen, _ = sample(logits.expand(DRAWS // 100, -1), Sampling(0.8), streams.at(index))
        counts += torch.bincount(chosen, minlength=5)
    assert float((counts / DRAWS - (logits / 0.8).softmax(-1)).abs().max()) < FOUR_ERRORS


def test_the_log_probability_is_that_of_all_logits_in_double_precision() -> None:
    logits = torch.randn(64, 500, generator=torch.Generator().manual_seed(0)) * 8
    tokens, logprobs = sample(logits, Sampling(0.7), UniformStreams(range(64), CPU).at(0))
    expected = (logits.double() / 0.7).log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    assert logprobs.tolist() == pytest.approx(expected.tolist(), abs=FLOAT32)


def mixed(word: int) -> int:
    """SplitMix64's mixing function on Python's own integers."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def test_the_mixing_function_is_splitmix64() -> None:
    # The first outputs of the published generator from state 1234567.
    outputs = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mixed((1234567 + index * GOLDEN) % 2**64) for index in (1, 2, 3)] == outputs


@pytest.mark.parametrize("seeds", [[5, 6, 7], [0, 2**63 - 1, 1234567]])
def test_a_stream_is_its_seed_alone_at_any_index_in_any_order(seeds: list[int]) -> None:
    streams = UniformStreams(seeds, CPU)
    for index in (0, 1, 5 * BLOCK_TOKENS, BLOCK_TOKENS - 1, BLOCK_TOKENS, 2):
        expected = [(mixed((mixed(seed) + (index + 1) * GOLDEN) % 2**64) >> 11) / 2**53 for seed in seeds]
        assert streams.at(index).tolist() == expected


def test_streams_of_neighbouring_seeds_and_neighbouring_numbers_are_unrelated() -> None:
    streams = UniformStreams(range(1000), CPU)
    numbers = torch.stack([streams.at(index) for index in range(64)])  # [64, 1000]
    error = 1 / math.sqrt(12 * numbers.numel())  # of a mean of as many uniform numbers
    assert abs(float(numbers.mean()) - 0.5) < 4 * error
    centred = (numbers - 0.5) * math.sqrt(12)
    for product in (centred[1:] * centred[:-1], centred[:, 1:] * centred[:, :-1], centred[1:, 1:] * centred[:-1, :-1]):
        assert abs(float(product.mean())) < 4 / math.sqrt(product.numel())
