"""Loading a causal language model from a Hugging Face folder."""

import re
import sys
from pathlib import Path

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import is_flash_attn_2_available
from transformers.utils import logging as transformers_logging

from rl_core.config.models import PolicyConfig
from rl_core.errors import MistakeError

DROPOUT = re.compile(r"dropout|_pdrop$")  # attention_dropout, hidden_dropout_prob; resid_pdrop of GPT-2
UNBOUNDED = 1 << 30  # context of a model that names none
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

if not sys.stderr.isatty():
    transformers_logging.disable_progress_bar()


def context_tokens(folder: Path) -> int:
    """The longest sequence that the model in `folder` is for; UNBOUNDED where it names none."""
    return getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", None) or UNBOUNDED


def compute_dtype(policy: PolicyConfig, device: torch.device) -> torch.dtype:
    """What the model computes in: as configured, or what suits the device."""
    automatic = torch.float32 if device.type == "cpu" else torch.bfloat16
    return DTYPES.get(policy.dtype, automatic)


def choose_attention(folder: Path, policy: PolicyConfig, device: torch.device) -> str | None:
    """Of the model in `folder`: as configured; on auto flash attention where it works, and None elsewhere.

    None leaves the choice to transformers: sdpa where the model has it.

    Raises:
        MistakeError: flash attention is configured, and does not work here.
    """
    if policy.attention in ("eager", "sdpa"):
        return policy.attention
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(AutoConfig.from_pretrained(folder))]
    needs = {
        "an accelerator": device.type != "cpu",
        "policy.dtype bfloat16": compute_dtype(policy, device) == torch.bfloat16,
        "the package flash-attn": is_flash_attn_2_available(),
        f"a model that has it, unlike {model_class.__name__}": model_class._supports_flash_attn,
    }
    missing = [need for need, met in needs.items() if not met]
    if policy.attention == "flash_attention_2" and missing:
        raise MistakeError(
            f"policy.attention is 'flash_attention_2', which needs {' and '.join(missing)}: 'auto' takes it where it "
            "works"
        )
    return None if missing else "flash_attention_2"


def attention_of(causal_lm: PreTrainedModel) -> str:
    """The name of the attention that a loaded model computes with."""
    return str(causal_lm.config._attn_implementation)


def without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration with every dropout at 0: a loss compares one policy at two times, and samplers know of none."""
    for name, value in config.to_dict().items():
        if isinstance(value, float) and DROPOUT.search(name):
            setattr(config, name, 0.0)
    return config


def load_causal_lm(folder: Path, policy: PolicyConfig, device: torch.device) -> PreTrainedModel:
    """The model in `folder`, on the CPU, in the dtype and with the attention of the recipe, and without dropout."""
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        config=without_dropout(AutoConfig.from_pretrained(folder)),
        dtype=compute_dtype(policy, device),
        attn_implementation=choose_attention(folder, policy, device),
    )
    if policy.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model


def end_ids(generation: GenerationConfig) -> list[int]:
    """The tokens that end a response.

    Raises:
        MistakeError: the model names none.
    """
    end = generation.eos_token_id
    if end is None:
        raise MistakeError(
            "policy.model_name: the model's generation_config.json names no eos_token_id, so no response ends: add it "
            "in a folder of your own"
        )
    return [end] if isinstance(end, int) else list(end)
