import pytest
import torch
from torch.nn import functional

from rl_core.models.tiled_logprobs import Tile, tiled_logprobs

TOKENS, HIDDEN, VOCABULARY = 10, 16, 50
FLOAT32 = {"rtol": 1e-5, "atol": 2e-6}
FLOAT64 = {"rtol": 1e-13, "atol": 1e-13}
BFLOAT16 = {"rtol": 2e-2, "atol": 2e-2}  # 8 bits of each number
# One logit, a word at a time, a token at a time, uneven cuts of both, exact halves, all at once.
TILES = [Tile(*sizes) for sizes in ((1, 1), (10, 1), (1, 50), (3, 7), (5, 25), (1000, 1000))]


def inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, output embedding, chosen words: the first and the last of the vocabulary among them."""
    draw = torch.Generator().manual_seed(0)
    states = torch.randn(TOKENS, HIDDEN, generator=draw).to(dtype).requires_grad_()
    weight = (torch.randn(VOCABULARY, HIDDEN, generator=draw) / HIDDEN**0.5).to(dtype).requires_grad_()
    chosen = torch.randint(0, VOCABULARY, (TOKENS,), generator=draw)
    chosen[0], chosen[-1] = 0, VOCABULARY - 1
    return states, weight, chosen


def plain(
    states: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The formula itself, all logits at once, in float64."""
    logprobs = (functional.linear(states.double(), weight.double()) / temperature).log_softmax(-1)
    return logprobs.gather(-1, chosen.unsqueeze(-1)).squeeze(-1), -(logprobs.exp() * logprobs).sum(-1)


def gradients(
    outputs: tuple[torch.Tensor, torch.Tensor], of: tuple[torch.Tensor, ...], weights: tuple[float, float]
) -> tuple[torch.Tensor, ...]:
    """Of a sum in which every token counts differently, of the log-probabilities and of the entropies."""
    position = torch.arange(1.0, TOKENS + 1, dtype=outputs[0].dtype)
    loss = sum(weight * (output * position).sum() for weight, output in zip(weights, outputs, strict=True) if weight)
    return torch.autograd.grad(loss, of)


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7], ids="temperature={}".format)
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)], ids=str)
def test_values_and_both_gradients_are_those_of_the_formula(
    tile: Tile, temperature: float, dtype: torch.dtype, rounding: dict[str, float]
) -> None:
    states, weight, chosen = inputs(dtype)
    expected = plain(states, weight, chosen, temperature)
    for got, wanted in zip(tiled_logprobs(states, weight, chosen, temperature, tile), expected, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, wanted.to(dtype), **rounding)
    for weights in ((1.0, 0.0), (0.0, 1.0), (-0.7, 0.3)):
        of_ours = gradients(tiled_logprobs(states, weight, chosen, temperature, tile), (states, weight), weights)
        of_formula = gradients(plain(states, weight, chosen, temperature), (states, weight), weights)
        for got, wanted in zip(of_ours, of_formula, strict=True):
            assert float((got - wanted).norm() / wanted.norm()) < rounding["rtol"]


@pytest.mark.parametrize("tile", [Tile(6, 30), Tile(100, 100)], ids=str)
def test_gradients_are_the_slopes_of_the_values(tile: Tile) -> None:
    states, weight, chosen = inputs()

    def outputs(states: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return tiled_logprobs(states, weight, chosen, 0.8, tile)

    assert torch.autograd.gradcheck(outputs, (states, weight))


def test_logits_far_from_zero_neither_overflow_nor_vanish() -> None:
    states, weight, chosen = inputs(torch.float32)
    far = tiled_logprobs(states * 1000, weight, chosen, 1.0, Tile(3, 7))
    for got, wanted in zip(far, plain(states * 1000, weight, chosen, 1.0), strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-3)
    assert all(grad.isfinite().all() for grad in gradients(far, (states, weight), (1.0, 1.0)))


@pytest.mark.parametrize("frozen", ["states", "weight"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same(frozen: str) -> None:
    states, weight, chosen = inputs()
    given = {"states": states, "weight": weight}
    other = given[(given.keys() - {frozen}).pop()]
    (expected,) = gradients(plain(states, weight, chosen, 1.0), (other,), (1.0, 1.0))
    given[frozen].requires_grad_(False)
    (got,) = gradients(tiled_logprobs(states, weight, chosen, 1.0, Tile(3, 7)), (other,), (1.0, 1.0))
    torch.testing.assert_close(got, expected, **FLOAT64)


def test_bfloat16_gives_float32_results_and_bfloat16_gradients_near_the_formula() -> None:
    states, weight, chosen = inputs(torch.bfloat16)
    tiled, expected = tiled_logprobs(states, weight, chosen, 0.9, Tile(3, 7)), plain(states, weight, chosen, 0.9)
    assert [output.dtype for output in tiled] == [torch.float32, torch.float32]
    for got, wanted in zip(tiled, expected, strict=True):
        torch.testing.assert_close(got, wanted.float(), **BFLOAT16)
    wanted_gradients = gradients(expected, (states, weight), (1.0, 0.5))
    for got, wanted in zip(gradients(tiled, (states, weight), (1.0, 0.5)), wanted_gradients, strict=True):
        assert got.dtype == torch.bfloat16
        assert float((got - wanted).float().norm() / wanted.float().norm()) < BFLOAT16["rtol"]


def test_no_token_gives_no_number_and_no_gradient() -> None:
    _, weight, _ = inputs()
    none = torch.zeros(0, HIDDEN, dtype=weight.dtype, requires_grad=True)
    logprobs, entropies = tiled_logprobs(none, weight, torch.zeros(0, dtype=torch.long), 1.0, Tile(3, 7))
    assert (logprobs.shape, entropies.shape) == ((0,), (0,))
    logprobs.sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """Elements of the largest tensor that any operation gives."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize(("tokens", "vocabulary"), [(64, 64), (64, 1024), (1024, 64), (512, 512)])
def test_nothing_larger_than_a_tile_the_states_and_the_embedding_is_made(tokens: int, vocabulary: int) -> None:
    states, weight = torch.randn(tokens, 4, requires_grad=True), torch.randn(vocabulary, 4, requires_grad=True)
    with LargestTensor() as largest:
        logprobs, entropies = tiled_logprobs(states, weight, torch.zeros(tokens, dtype=torch.long), 0.5, Tile(32, 32))
        (logprobs + entropies).sum().backward()
    assert largest.elements <= max(32 * 32, 4 * tokens, 4 * vocabulary)
