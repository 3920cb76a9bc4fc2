"""Loading a causal language model from a Hugging Face folder."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from rl_core.config.sections import PolicyConfig
from rl_core.errors import MistakeError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

if not sys.stderr.isatty():
    transformers_logging.disable_progress_bar()


def compute_dtype(policy: PolicyConfig, device: torch.device) -> torch.dtype:
    """What the model computes in: as configured, or what suits the device."""
    automatic = torch.float32 if device.type == "cpu" else torch.bfloat16
    return DTYPES.get(policy.dtype, automatic)


def load_causal_lm(folder: Path, policy: PolicyConfig, device: torch.device) -> PreTrainedModel:
    """The model in `folder`, on the CPU, in the dtype and with the attention of the recipe."""
    attention = {} if policy.attention == "auto" else {"attn_implementation": policy.attention}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype(policy, device), **attention)
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
