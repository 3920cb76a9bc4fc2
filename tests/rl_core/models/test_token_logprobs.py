from collections.abc import Callable

import pytest
import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rl_core.errors import MistakeError
from rl_core.models.tiled_logprobs import Tile
from rl_core.models.token_logprobs import PREFIX, TokenLogprobs
from tests.rl_core.tiny import VOCABULARY, tiny_llama, tiny_qwen2

ROUNDING = {"rtol": 1e-5, "atol": 1e-5}  # of float32, in another order of summation
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen2 tied": lambda: tiny_qwen2(tied=True),
    "qwen2 untied": lambda: tiny_qwen2(tied=False),
    "llama": tiny_llama,
}
PROMPTS, RESPONSES = ([5, 6, 7], [9], [2, 3, 4, 5, 6]), ([8, 9, 10, 1], [30, 40, 50], [7])


def batch(rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts and responses of these rows, padded on the right with 0, and the mask of the responses."""
    length = max(len(PROMPTS[row]) + len(RESPONSES[row]) for row in rows)
    tokens, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.bool)
    for place, row in enumerate(rows):
        end = len(PROMPTS[row]) + len(RESPONSES[row])
        tokens[place, :end] = torch.tensor(PROMPTS[row] + RESPONSES[row])
        mask[place, len(PROMPTS[row]) : end] = True
    return tokens, mask


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_and_entropies_are_those_of_the_models_own_logits(model: str, temperature: float) -> None:
    policy = MODELS[model]()
    tokens, mask = batch([0, 1, 2])
    with torch.no_grad():
        logits = torch.cat(
            [
                policy(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
                for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
            ]
        )
    expected = (logits / temperature).log_softmax(-1)
    chosen = torch.tensor([token for response in RESPONSES for token in response])
    logprobs, entropies = TokenLogprobs(policy, tile=Tile(3, 20))(tokens, mask, temperature)
    torch.testing.assert_close(logprobs.detach(), expected.gather(-1, chosen[:, None])[:, 0], **ROUNDING)
    torch.testing.assert_close(entropies.detach(), -(expected.exp() * expected).sum(-1), **ROUNDING)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_the_models_own_loss(model: str) -> None:
    tokens, mask = batch([0, 1, 2])
    plain = MODELS[model]()
    logprobs = plain(tokens).logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
    (logprobs * mask[:, 1:]).sum().backward()
    wrapped = TokenLogprobs(MODELS[model](), tile=Tile(3, 20))
    wrapped(tokens, mask, 1.0)[0].sum().backward()
    expected = {name: parameter.grad for name, parameter in plain.named_parameters()}
    got = {name.removeprefix(PREFIX): parameter.grad for name, parameter in wrapped.named_parameters()}
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient is not None
        torch.testing.assert_close(got[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


def test_padding_does_not_change_a_row() -> None:
    wrapped = TokenLogprobs(tiny_qwen2())
    together = wrapped(*batch([0, 1, 2]), 1.0)[0].split([len(response) for response in RESPONSES])
    for row, expected in enumerate(together):
        tokens, mask = batch([row])
        torch.testing.assert_close(wrapped(tokens, mask, 1.0)[0], expected, **ROUNDING)
        longer = torch.nn.functional.pad(tokens, (0, 5), value=VOCABULARY - 1)
        torch.testing.assert_close(wrapped(longer, torch.nn.functional.pad(mask, (0, 5)), 1.0)[0], expected, **ROUNDING)


def attention_by_bounds(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor,
    max_length_q: int,
    max_length_k: int,
    **kwargs: object,
) -> tuple[torch.Tensor, None]:
    """Knows sequences from the bounds alone, as flash attention does; [1, heads, T, head size] in."""
    assert attention_mask is None
    assert torch.equal(cu_seq_lens_q, cu_seq_lens_k)
    assert cu_seq_lens_q.dtype == torch.int32
    lengths = cu_seq_lens_q.diff().tolist()
    assert max_length_q == max_length_k == max(lengths)
    parts = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    return torch.cat([sdpa_attention_forward(module, *part, None, **kwargs)[0] for part in parts], dim=1), None


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("attention", ["sdpa", "eager", "by_bounds"])
def test_sequences_end_to_end_in_one_row_give_what_each_gives_alone(
    model: str, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AttentionInterface._global_mapping, "by_bounds", attention_by_bounds)
    alone = TokenLogprobs(MODELS[model]())
    for row in (0, 1, 2):
        alone(*batch([row]), 1.0)[0].sum().backward()
    packed = TokenLogprobs(MODELS[model]())
    packed.causal_lm.config._attn_implementation = attention
    lengths = [len(prompt) + len(response) for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    tokens, mask = (torch.cat(parts, dim=1) for parts in zip(*(batch([row]) for row in (0, 1, 2)), strict=True))
    logprobs, _ = packed(tokens, mask, 1.0, lengths)
    logprobs.sum().backward()
    expected = torch.cat([alone(*batch([row]), 1.0)[0] for row in (0, 1, 2)])
    torch.testing.assert_close(logprobs, expected, **ROUNDING)
    for (name, parameter), (_, wanted) in zip(packed.named_parameters(), alone.named_parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, wanted.grad, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_later_sequence_of_a_packed_row_sees_nothing_of_an_earlier_one(attention: str) -> None:
    policy = tiny_qwen2()
    policy.config._attn_implementation = attention
    wrapped = TokenLogprobs(policy)
    tokens, mask = torch.tensor([[5, 6, 7, 8, 2, 9, 3, 4]]), torch.tensor([[False] * 5 + [True] * 3])
    others = torch.tensor([[50, 40, 30, 20, 2, 9, 3, 4]])
    assert torch.equal(wrapped(tokens, mask, 1.0, (4, 4))[0], wrapped(others, mask, 1.0, (4, 4))[0])
    assert not torch.equal(wrapped(tokens, mask, 1.0)[0], wrapped(others, mask, 1.0)[0])


def test_the_wrapped_model_still_generates_with_its_logits() -> None:
    policy = tiny_qwen2()
    tokens = torch.tensor([[3, 4, 5]])
    before = policy(tokens).logits
    TokenLogprobs(policy)
    assert torch.equal(policy(tokens).logits, before)


@pytest.mark.parametrize("field", ["final_logit_softcapping", "logits_scaling", "logit_scale"])
def test_models_that_change_their_logits_afterwards_are_refused(field: str) -> None:
    policy = tiny_qwen2()
    setattr(policy.config, field, 30.0)
    with pytest.raises(MistakeError, match=field):
        TokenLogprobs(policy)
    setattr(policy.config, field, 1.0)
    TokenLogprobs(policy)
