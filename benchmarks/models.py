"""Qwen2 models with random weights, of the shapes that are measured, as Hugging Face folders.

torch and transformers are imported when called, by the processes that measure: the one that shows the figures starts
sooner without them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Qwen2Config

TINY = "tiny"
# Of the embedded preset; its initializer range too, with which lengths of responses vary as a trained model's do.
EMBEDDED = "embedded"
HUNDRED_MILLION = "100m"
# config.json of deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B: 1,777,088,000 parameters.
DISTILL = "1.5b"

SHAPES: dict[str, dict[str, Any]] = {
    TINY: {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 128,
        "max_position_embeddings": 512,
    },
    EMBEDDED: {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 512,
        "max_position_embeddings": 256,
        "initializer_range": 0.08,
        "tie_word_embeddings": True,
    },
    HUNDRED_MILLION: {
        "vocab_size": 32000,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "intermediate_size": 2048,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
    DISTILL: {
        "vocab_size": 151936,
        "hidden_size": 1536,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 8960,
        "max_position_embeddings": 131072,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6,
    },
}


def model_config(shape: str) -> "Qwen2Config":
    """The configuration of a shape. A vocabulary that is not given is the embedded tokenizer's."""
    from transformers import Qwen2Config

    from rl_core.embedded.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    settings = {"vocab_size": len(tokenizer), "tie_word_embeddings": False, **SHAPES[shape]}
    return Qwen2Config(**settings, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)


def write_model(shape: str, folder: Path) -> None:
    """A model with random float32 weights and the embedded tokenizer, as a Hugging Face folder."""
    import torch
    from transformers import GenerationConfig, Qwen2ForCausalLM

    from rl_core.embedded.tokenizer import build_tokenizer

    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = Qwen2ForCausalLM(model_config(shape))
    model.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
