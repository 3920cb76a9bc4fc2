"""Rows of problem and answer as token ids: what a policy is fine-tuned on, and what its loss is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import GenerationConfig, PreTrainedTokenizerBase

from rl_core.config import SFT, SftConfig
from rl_core.data.parquet import PromptedProblem, load_problems
from rl_core.errors import MistakeError
from rl_core.models.load import end_ids
from rl_core.rewards.answers import THOUGHT_CLOSES, behind_opened_thought
from rl_core.rollout.collect import ends_in_thought
from rl_core.run_dir import RunDir
from rl_core.training.batching import Sample
from rl_core.world import derive_seed

EXAMPLE = ({"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"})


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that are short enough, as prompts with the answer as their response."""

    train: list[Sample]
    validation: list[Sample]
    num_set_aside: int  # rows that are too long


def load_rows(run: RunDir, tokenizer: PreTrainedTokenizerBase, generation: GenerationConfig) -> Rows:
    """The run's answers by the model's own chat template, each with the token that ends a response behind it.

    The rows whose loss is measured are drawn under the run's seed.

    Raises:
        MistakeError: too few rows are short enough, or the prompt opens a thought that an answer does not end.
    """
    config = run.config.sft
    assert config is not None, "asked only where the recipe has it"
    problems = load_problems(run.data / f"{SFT}.parquet")
    _require_ends_of_thoughts(problems, tokenizer, config)
    samples = fitting(problems, tokenizer, end_token(tokenizer, generation), config.max_tokens)
    _require_enough(len(samples), len(problems), config)
    random = np.random.default_rng(derive_seed(run.config.seed, SFT, "validation"))
    held_out = set(random.permutation(len(samples))[: config.validation_rows].tolist())
    return Rows(
        train=[sample for index, sample in enumerate(samples) if index not in held_out],
        validation=[sample for index, sample in enumerate(samples) if index in held_out],
        num_set_aside=len(problems) - len(samples),
    )


def fitting(
    problems: Sequence[PromptedProblem], tokenizer: PreTrainedTokenizerBase, end: int, max_tokens: int
) -> list[Sample]:
    """The rows with at most `max_tokens` of prompt and response; a response that is cut off would teach not to end.

    A response is encoded by itself, as it is when it is sampled behind the prompt. Of a thought that the prompt opened
    it does not have the tag a second time.
    """
    samples = []
    for row, problem in enumerate(problems):
        prompt, answer = _prompt(problem, tokenizer), problem.solution or ""
        if ends_in_thought(prompt, tokenizer):
            answer = behind_opened_thought(answer)
        response = [*tokenizer(answer, add_special_tokens=False)["input_ids"], end]
        if len(prompt) + len(response) <= max_tokens:
            samples.append(Sample(tuple(prompt), tuple(response), (), 0.0, row=row))
    return samples


def end_token(tokenizer: PreTrainedTokenizerBase, generation: GenerationConfig) -> int:
    """The token that ends a response: the first of those the model stops at that its chat template writes behind an
    answer. Where the template writes none, the first that the model stops at.

    Raises:
        MistakeError: the model stops at none.
    """
    ends = end_ids(generation)
    whole = list(tokenizer.apply_chat_template(list(EXAMPLE), return_dict=False))
    asked = list(tokenizer.apply_chat_template(list(EXAMPLE[:1]), add_generation_prompt=True, return_dict=False))
    # Behind what both begin with: the prompt may open a thought, which the whole conversation does not have.
    pairs = enumerate(zip(whole, asked, strict=False))
    answer = next((place for place, (one, other) in pairs if one != other), len(asked))
    written = [token for token in whole[answer:] if token in ends]
    return written[0] if written else ends[0]


def _prompt(problem: PromptedProblem, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(
        list(problem.messages), add_generation_prompt=True, return_dict=False
    )
    return ids


def _require_ends_of_thoughts(
    problems: Sequence[PromptedProblem], tokenizer: PreTrainedTokenizerBase, config: SftConfig
) -> None:
    """Refuse answers that would be learned as a thought that never ends."""
    endless = [problem for problem in problems if THOUGHT_CLOSES not in (problem.solution or "")]
    if endless and ends_in_thought(_prompt(endless[0], tokenizer), tokenizer):
        raise MistakeError(
            f"sft.data.response is {config.data.response!r}: {len(endless)} of {len(problems)} answers have no "
            f"{THOUGHT_CLOSES}, and the chat template opens a thought in the prompt, which they would never end: take "
            "whole traces (trace), rows that are such, or a data.chat_template that opens no thought"
        )


def _require_enough(num_fitting: int, num_rows: int, config: SftConfig) -> None:
    needed = config.validation_rows + config.batch_sequences
    if num_fitting < needed:
        raise MistakeError(
            f"sft: {num_fitting} of {num_rows} rows have at most {config.max_tokens} tokens (sft.max_tokens), fewer "
            f"than the {needed} of sft.validation_rows and sft.batch_sequences together: raise the first, lower one of "
            "the others, or give more rows"
        )
