"""Loading a causal language model from a Hugging Face folder."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from rl_core.config.sections import PolicyConfig

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
