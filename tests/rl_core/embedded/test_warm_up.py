from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl_core.config import EmbeddedConfig
from rl_core.embedded import warm_up as module
from rl_core.embedded.task import Chain, answer_in_style
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.embedded.warm_up import CLEAN_DEPTH, STYLES, build_model, warm_up
from rl_core.errors import GuardStop

SMALL: dict[str, Any] = {
    "train_problems": 32, "test_problems": 8, "hidden_size": 16, "intermediate_size": 24, "num_layers": 1,
    "batch_tokens": 300, "clean_loss": 5.9, "mixed_steps": 2, "max_clean_steps": 50,
}  # fmt: skip


def prompt_of(problem: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": problem}]


def warmed_up(folder: Path, *, seed: int = 0, held_out: frozenset[str] = frozenset(), **settings: Any) -> Path:
    folder.mkdir()
    warm_up(EmbeddedConfig(**{**SMALL, **settings}), prompt_of, set(held_out), seed=seed, directory=folder)
    return folder


def test_the_base_model_is_a_function_of_the_seed(tmp_path: Path) -> None:
    first, again, other = (
        load_file(warmed_up(tmp_path / name, seed=seed) / "model.safetensors")
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_folder_is_a_model_with_its_tokenizer_and_the_tokens_that_end_a_response(tmp_path: Path) -> None:
    folder = warmed_up(tmp_path / "base", mixed_steps=0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.max_position_embeddings == 256
    assert model.config.tie_word_embeddings
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id


def test_a_loss_that_does_not_fall_is_told(tmp_path: Path) -> None:
    with pytest.raises(GuardStop, match=r"after 3 updates, above embedded\.clean_loss 1e-06"):
        warmed_up(tmp_path / "base", clean_loss=1e-6, max_clean_steps=3)


def writer(held_out: set[str], seed: int = 0, **settings: Any) -> Any:
    embedded = EmbeddedConfig(**settings)
    tokenizer = build_tokenizer(embedded.answer_format)
    return module._ExampleWriter(embedded, tokenizer, prompt_of, held_out, np.random.default_rng(seed))


def texts(examples: list[tuple[list[int], list[int]]]) -> list[tuple[str, str]]:
    tokenizer = build_tokenizer()
    return [(tokenizer.decode(prompt), tokenizer.decode(answer)) for prompt, answer in examples]


def test_no_held_out_problem_is_ever_shown() -> None:
    # Of depth 1 there are 270 problems: among 400 draws nearly every one would come up.
    held_out = {Chain(value, (n,)).problem for value in range(20) for n in range(-9, 10) if n and 0 <= value + n <= 9}
    assert len(held_out) == 135
    shown = writer(held_out, max_depth=1)
    prompts = {prompt for prompt, _ in texts(shown.clean(200) + shown.mixed(200))}
    assert len(prompts) > 90
    assert not {f"<|user|>{problem}<|assistant|>" for problem in held_out} & prompts


def test_the_first_phase_shows_short_chains_with_their_own_solution() -> None:
    for prompt, answer in texts(writer(set()).clean(100)):
        start, *operands = prompt.removeprefix("<|user|>Compute ").removesuffix("<|assistant|>").split(" ")
        assert 1 <= len(operands) <= CLEAN_DEPTH
        assert answer == Chain(int(start), tuple(int(operand[1:]) for operand in operands)).solution() + "<|end|>"


def test_every_style_of_the_second_phase_by_hand() -> None:
    chain, random = Chain(12, (5, -6)), np.random.default_rng(0)
    assert answer_in_style(chain, "concise", "boxed", random) == "12a+5=17\n17b-6=11\n\\boxed{11}"
    verbose = answer_in_style(chain, "verbose", "boxed", random)
    assert verbose == "12a+5=17\n12a+5=17\n17b-6=11\n17b-6=11\n\\boxed{11}"
    early = {answer_in_style(chain, "early_stop", "boxed", random) for _ in range(40)}
    assert early == {"\\boxed{12}", "12a+5=17\n\\boxed{17}"}
    guesses = {answer_in_style(chain, "guess", "boxed", random) for _ in range(400)}
    assert guesses == {f"\\boxed{{{value}}}" for value in range(20)}
    assert set(STYLES) == {"concise", "verbose", "guess", "early_stop"}


def test_every_style_is_in_the_form_that_is_asked_for() -> None:
    chain, random = Chain(12, (5,)), np.random.default_rng(0)
    assert answer_in_style(chain, "concise", "answer_tag", random) == "12a+5=17\n<answer>17</answer>"
    assert answer_in_style(chain, "early_stop", "answer_tag", random) == "<answer>12</answer>"
    thought = answer_in_style(chain, "verbose", "thought", random)
    assert thought == "<think>\n12a+5=17\n12a+5=17\n</think>\\boxed{17}"
    assert answer_in_style(chain, "guess", "thought", random).startswith("<think>\n</think>\\boxed{")


def test_the_base_model_speaks_with_the_tokens_of_its_form(tmp_path: Path) -> None:
    folder = warmed_up(tmp_path / "base", mixed_steps=0, answer_format="thought")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer) == len(build_tokenizer()) + 2


def test_batches_hold_every_example_once_within_the_budget_of_padded_tokens() -> None:
    draw = writer(set(), seed=1)
    drawn: list[Any] = []

    def remember(count: int) -> list[Any]:
        drawn.extend(draw.mixed(count))
        return list(drawn)

    batches, seen = module._batches(remember, 600), []
    while len(seen) < 75:  # the first pool: 8 * 600 // 64
        batch = next(batches)
        assert len(batch) * max(len(prompt) + len(answer) for prompt, answer in batch) <= 600
        seen += batch
    assert sorted(seen) == sorted(drawn)


def test_the_loss_is_of_the_answers_tokens_alone() -> None:
    embedded, tokenizer = EmbeddedConfig(**SMALL), build_tokenizer()
    torch.manual_seed(0)
    model = build_model(embedded, tokenizer)
    batch = [([5, 6, 7], [8, 9]), ([10], [11, 12, 13, 14])]
    with torch.no_grad():
        losses = [
            functional.cross_entropy(
                model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1],
                torch.tensor(answer),
                reduction="sum",
            )
            for prompt, answer in batch
        ]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    assert module._update(model, optimizer, batch) == pytest.approx(float(sum(losses)) / 6, rel=1e-5)
