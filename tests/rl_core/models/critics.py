"""A model of the critic's own, in a folder."""

import json
from pathlib import Path

from rl_core.embedded.tokenizer import build_tokenizer
from tests.rl_core.tiny import tiny_qwen2

CRITIC = ("algorithm.baseline=critic", "algorithm.scale=none")


def save_critic(folder: Path, *, context_tokens: int = 200) -> Path:
    """A Qwen2 wider than `own_model`, with its tokenizer."""
    tokenizer = build_tokenizer()
    model = tiny_qwen2(seed=5, vocabulary=len(tokenizer), hidden_size=32, context_tokens=context_tokens)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def edit(file: Path, **values: object) -> None:
    """Write values into a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
