"""The embedded base model: a small Qwen2 and the short supervised warm-up that teaches it to answer, but not well.

Two phases, AdamW on answer tokens only. The first shows correct chains until the running loss says that
arithmetic is learned: a fixed number of updates is not enough for every seed. The second mixes concise, verbose,
guessed and unfinished answers, so that reinforcement learning finds something to improve and something to cut short.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from rl_core.config import EmbeddedConfig
from rl_core.embedded.task import STYLES, Chain, answer_in_style, draw_depths
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import GuardStop
from rl_core.progress import Progress

BETAS = (0.9, 0.98)
MAX_GRAD_NORM = 1.0
INITIALIZER_RANGE = 0.08  # transformers' 0.02 waits long on a plateau at this size
# Longest chain of the first phase. Up to 8 the model later gives up on chains of 11 and more (measured: one answer in
# ten right after all stages), and the last stage, which is there for them, has little to reinforce.
CLEAN_DEPTH = 12
LOSS_MEMORY = 0.95  # of the running loss
POOL_BATCHES = 8  # examples are sorted by length within so many batches: less padding, same distribution
STYLE_WEIGHTS = (0.40, 0.25, 0.25, 0.10)

Example = tuple[list[int], list[int]]  # prompt token ids, answer token ids


def warm_up(
    embedded: EmbeddedConfig,
    prompt_of: Callable[[str], list[dict[str, str]]],
    held_out: set[str],
    *,
    chat_template: str | None = None,
    seed: int,
    directory: Path,
) -> None:
    """Train the base model and save it, with its tokenizer, as a Hugging Face folder.

    Args:
        prompt_of: the chat messages of a problem, as training will show them.
        held_out: problems that must not be seen: test and probe.
        chat_template: makes prompts of those messages; None is the tokenizer's own.
        directory: exists and is empty.

    Raises:
        GuardStop: arithmetic was not learned within `embedded.max_clean_steps` updates.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(embedded.answer_format)
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    model = build_model(embedded, tokenizer)
    writer = _ExampleWriter(embedded, tokenizer, prompt_of, held_out, np.random.default_rng([seed, 1]))
    _train(model, embedded, writer)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def build_model(embedded: EmbeddedConfig, tokenizer: PreTrainedTokenizerBase) -> Qwen2ForCausalLM:
    """An untrained Qwen2 of the configured size in float32, input and output embeddings tied."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=embedded.hidden_size,
        num_hidden_layers=embedded.num_layers,
        num_attention_heads=embedded.num_heads,
        num_key_value_heads=embedded.num_key_value_heads,
        intermediate_size=embedded.intermediate_size,
        max_position_embeddings=embedded.context_tokens,
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


class _ExampleWriter:
    """Draws prompts and answers of either phase."""

    def __init__(
        self,
        embedded: EmbeddedConfig,
        tokenizer: PreTrainedTokenizerBase,
        prompt_of: Callable[[str], list[dict[str, str]]],
        held_out: set[str],
        random: np.random.Generator,
    ) -> None:
        self._max_depth, self._format = embedded.max_depth, embedded.answer_format
        self._tokenizer, self._prompt_of = tokenizer, prompt_of
        self._held_out, self._random = held_out, random

    def clean(self, count: int) -> list[Example]:
        """Chains up to CLEAN_DEPTH, each with its correct concise answer."""
        depths = self._random.integers(1, min(CLEAN_DEPTH, self._max_depth) + 1, count)
        chains = self._chains([int(depth) for depth in depths])
        return [self._example(chain, chain.solution(self._format)) for chain in chains]

    def mixed(self, count: int) -> list[Example]:
        """Chains of the task's own depths with answers of every quality."""
        styles = self._random.choice(STYLES, count, p=STYLE_WEIGHTS)
        chains = self._chains(draw_depths(count, self._max_depth, self._random))
        return [
            self._example(chain, answer_in_style(chain, str(style), self._format, self._random))
            for chain, style in zip(chains, styles, strict=True)
        ]

    def _chains(self, depths: Sequence[int]) -> Iterator[Chain]:
        for depth in depths:
            chain = Chain.draw(depth, self._random)
            while chain.problem in self._held_out:
                chain = Chain.draw(depth, self._random)
            yield chain

    def _example(self, chain: Chain, answer: str) -> Example:
        prompt = self._tokenizer.apply_chat_template(
            self._prompt_of(chain.problem), add_generation_prompt=True, return_dict=False
        )
        return list(prompt), [*self._tokenizer(answer)["input_ids"], self._tokenizer.eos_token_id]


def _train(model: Qwen2ForCausalLM, embedded: EmbeddedConfig, writer: _ExampleWriter) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=embedded.learning_rate, betas=BETAS, weight_decay=0.0)
    running_loss, clean_steps = float("inf"), 0
    with Progress("base model: arithmetic", embedded.max_clean_steps, "update") as progress:
        for batch in _batches(writer.clean, embedded.batch_tokens):
            if running_loss < embedded.clean_loss:
                break
            if clean_steps == embedded.max_clean_steps:
                raise GuardStop(
                    f"the base model's loss is {running_loss:.3f} after {clean_steps} updates, above "
                    f"embedded.clean_loss {embedded.clean_loss}: raise embedded.max_clean_steps or take another seed"
                )
            loss = _update(model, optimizer, batch)
            running_loss = loss if clean_steps == 0 else LOSS_MEMORY * running_loss + (1 - LOSS_MEMORY) * loss
            clean_steps += 1
            progress.update(clean_steps, loss=running_loss)
    with Progress("base model: mixed answers", embedded.mixed_steps, "update") as progress:
        batches = _batches(writer.mixed, embedded.batch_tokens)
        for step in range(1, embedded.mixed_steps + 1):
            progress.update(step, loss=_update(model, optimizer, next(batches)))


def _batches(draw: Callable[[int], list[Example]], batch_tokens: int) -> Iterator[list[Example]]:
    """Endless batches of about `batch_tokens` padded tokens, of sequences of similar length, in random order."""
    pool_size = POOL_BATCHES * batch_tokens // 64
    order = np.random.default_rng(0)
    while True:
        examples = sorted(draw(pool_size), key=lambda example: len(example[0]) + len(example[1]))
        batches: list[list[Example]] = [[]]
        for example in examples:
            if batches[-1] and (len(batches[-1]) + 1) * (len(example[0]) + len(example[1])) > batch_tokens:
                batches.append([])
            batches[-1].append(example)
        for index in order.permutation(len(batches)):
            yield batches[index]


def _update(model: Qwen2ForCausalLM, optimizer: torch.optim.Optimizer, batch: list[Example]) -> float:
    """One optimizer step on the mean negative log-likelihood of the answer tokens; returns it."""
    length = max(len(prompt) + len(answer) for prompt, answer in batch)
    tokens = torch.zeros(len(batch), length, dtype=torch.long)
    targets = torch.full((len(batch), length), -100)  # -100: ignored by cross_entropy
    for row, (prompt, answer) in enumerate(batch):
        tokens[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        targets[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    logits = model(input_ids=tokens).logits  # right padding, causal attention: no mask needed
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
    optimizer.step()
    return float(loss.detach())
