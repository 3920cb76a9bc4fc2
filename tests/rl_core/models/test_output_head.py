import pytest
import torch

from rl_core.errors import MistakeError
from rl_core.models.output_head import OutputHead
from rl_core.models.tiled_logprobs import Tile

HIDDEN, VOCABULARY = 16, 50


def embedding() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)


@pytest.mark.parametrize("tile", [None, Tile(3, 7)], ids=str)
def test_log_probabilities_and_entropies_are_those_of_its_own_logits(tile: Tile | None) -> None:
    layer, chosen = embedding(), torch.tensor([4, 0, 49, 7, 7])
    states = torch.randn(5, HIDDEN)
    expected = (layer(states) / 0.7).log_softmax(-1)
    logprobs, entropies = OutputHead(layer, tile=tile).logprobs(states, chosen, 0.7)
    torch.testing.assert_close(logprobs, expected.gather(-1, chosen.unsqueeze(-1)).squeeze(-1))
    torch.testing.assert_close(entropies, -(expected.exp() * expected).sum(-1))
    logprobs.sum().backward()
    (wanted,) = torch.autograd.grad(expected.gather(-1, chosen.unsqueeze(-1)).sum(), layer.weight)
    torch.testing.assert_close(layer.weight.grad, wanted)


def test_a_plain_call_gives_logits_as_before() -> None:
    layer, states = embedding(), torch.randn(10, HIDDEN)
    before = layer(states)
    OutputHead(layer)
    assert torch.equal(layer(states), before)
    assert layer(states.view(2, 5, HIDDEN)).shape == (2, 5, VOCABULARY)


@pytest.mark.parametrize("other", [torch.nn.Linear(4, 5, bias=True), torch.nn.Embedding(5, 4)], ids=["bias", "other"])
def test_any_other_output_embedding_is_refused(other: torch.nn.Module) -> None:
    with pytest.raises(MistakeError, match="linear without bias"):
        OutputHead(other)
