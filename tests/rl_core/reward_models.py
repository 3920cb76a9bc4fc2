"""A learned reward model in a folder, as a trainer leaves one: random weights, the embedded tokenizer."""

from pathlib import Path
from typing import Any

from rl_core.embedded.tokenizer import build_tokenizer
from tests.rl_core.tiny import tiny_reward_model


def save_reward_model(folder: Path, **options: Any) -> Path:
    """Save a small reward model; the options are those of `tiny_reward_model`."""
    tokenizer = build_tokenizer()
    tiny_reward_model(vocabulary=len(tokenizer), **options).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
