import pytest
import torch
from transformers import AttentionInterface, MambaConfig, MambaForCausalLM, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rl_core.config.training import TrainingConfig
from rl_core.errors import MistakeError
from rl_core.training.grouping import Layout
from rl_core.training.layout import choose_layout
from tests.rl_core.tiny import VOCABULARY, tiny_llama, tiny_qwen2

WITHOUT_MASK = "sdpa_without_mask"  # transformers makes no mask for attention that it does not know


@pytest.fixture(autouse=True)
def attention_without_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AttentionInterface._global_mapping, WITHOUT_MASK, sdpa_attention_forward)


def with_attention(model: PreTrainedModel, attention: str) -> PreTrainedModel:
    model.config._attn_implementation = attention
    return model


def mamba() -> PreTrainedModel:
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4)
    return MambaForCausalLM(config)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_without_flash_attention_auto_takes_buckets_and_packing_has_to_be_asked_for(attention: str) -> None:
    model = with_attention(tiny_qwen2(hidden_size=24), attention)
    expected = {"attention_tokens": 12 * 24}
    assert choose_layout(TrainingConfig(micro_batch_tokens=100), model) == Layout(100, packed=False, **expected)
    asked = TrainingConfig(micro_batch_tokens=100, packing="packed")
    assert choose_layout(asked, model) == Layout(100, packed=True, **expected)


@pytest.mark.parametrize("training", [True, False])
def test_the_choice_leaves_the_model_as_it_was(training: bool) -> None:
    model = tiny_llama().train(training)
    choose_layout(TrainingConfig(packing="packed"), model)
    assert model.training == training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "model",
    [lambda: with_attention(tiny_qwen2(), WITHOUT_MASK), mamba],
    ids=["attention without a mask", "a recurrent model"],
)
def test_a_model_that_sees_what_stands_before_a_sequence_is_packed_by_nobody(model: type[torch.nn.Module]) -> None:
    causal_lm = model()
    with pytest.raises(MistakeError, match=r"training\.packing is 'packed'.* sees? the one before it.*'bucketed'"):
        choose_layout(TrainingConfig(packing="packed"), causal_lm)
    assert not choose_layout(TrainingConfig(packing="auto"), causal_lm).packed
    assert not choose_layout(TrainingConfig(packing="bucketed"), causal_lm).packed
