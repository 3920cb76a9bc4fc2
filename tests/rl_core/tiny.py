"""Small models with random weights, alike in everything but size to those that are trained."""

from typing import TypeVar

import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)

Model = TypeVar("Model", bound=PreTrainedModel)

VOCABULARY = 53
END = 1
# transformers draws weights with 0.02: so near to uniform distributions that much could go wrong unseen.
INITIALIZER_RANGE = 0.3
HEAD_SIZE = 6


def tiny_qwen2(
    *,
    seed: int = 0,
    tied: bool = True,
    vocabulary: int = VOCABULARY,
    hidden_size: int = 24,
    head_size: int = HEAD_SIZE,
    context_tokens: int = 128,
) -> Qwen2ForCausalLM:
    """Two layers of Qwen2: grouped queries, and biases that are not zero."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_size,
        max_position_embeddings=context_tokens,
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=tied,
        eos_token_id=END,
        pad_token_id=0,
    )
    return _ready(Qwen2ForCausalLM(config))


def tiny_reward_model(
    *, vocabulary: int = VOCABULARY, num_labels: int = 1, pad_token_id: int | None = 0, context_tokens: int = 128
) -> Qwen2ForSequenceClassification:
    """Two layers of Qwen2 with a head that gives scores."""
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=24,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_tokens,
        initializer_range=INITIALIZER_RANGE,
        num_labels=num_labels,
        pad_token_id=pad_token_id,
    )
    return Qwen2ForSequenceClassification(config).eval()


def tiny_llama(*, seed: int = 0) -> LlamaForCausalLM:
    """One layer of Llama, untied."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=20,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=False,
        eos_token_id=END,
        pad_token_id=0,
    )
    return _ready(LlamaForCausalLM(config))


def tiny_mistral(*, seed: int = 0) -> MistralForCausalLM:
    """Two layers that see a window of four tokens."""
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=INITIALIZER_RANGE,
        sliding_window=4,
        eos_token_id=END,
        pad_token_id=0,
    )
    return _ready(MistralForCausalLM(config))


def _ready(model: Model) -> Model:
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=INITIALIZER_RANGE)
    model.generation_config = GenerationConfig(eos_token_id=END, pad_token_id=0)
    return model.eval()
