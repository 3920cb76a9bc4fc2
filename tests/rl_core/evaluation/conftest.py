"""A model of random weights in a folder, and problems in a file: what the tests of the command share."""

import json
from pathlib import Path

import pytest

from rl_core.embedded.tokenizer import build_tokenizer
from tests.rl_core.tiny import tiny_qwen2

NUM_PROBLEMS = 20


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Responses of all lengths: many tokens end one."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), build_tokenizer()
    model = tiny_qwen2(vocabulary=len(tokenizer), context_tokens=256)
    model.generation_config.eos_token_id = list(range(10, 20))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def problem_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under other column names than ours."""
    file = tmp_path_factory.mktemp("problems") / "sums.jsonl"
    rows = [{"question": f"{n} + {n}", "final_answer": [str(2 * n)]} for n in range(NUM_PROBLEMS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
