"""Rows of problem and answer as token ids: what a policy is fine-tuned on, and what its loss is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import GenerationConfig, PreTrainedTokenizerBase

from rl_core.config import SFT, SftConfig
from rl_core.data.parquet import PromptedProblem, load_problems
from rl_core.errors import MistakeError
from rl_core.models.load import end_ids
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
        MistakeError: too few rows are short enough.
    """
    config = run.config.sft
    assert config is not None, "asked only where the recipe has it"
    problems = load_problems(run.data / f"{SFT}.parquet")
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

    A response is encoded by itself, as it is when it is sampled behind the prompt.
    """
    samples = []
    for row, problem in enumerate(problems):
        prompt = tokenizer.apply_chat_template(list(problem.messages), add_generation_prompt=True, return_dict=False)
        response = [*tokenizer(problem.solution or "", add_special_tokens=False)["input_ids"], end]
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
    written = [token for token in whole[len(asked) :] if token in ends]
    return written[0] if written else ends[0]


def _require_enough(num_fitting: int, num_rows: int, config: SftConfig) -> None:
    needed = config.validation_rows + config.batch_sequences
    if num_fitting < needed:
        raise MistakeError(
            f"sft: {num_fitting} of {num_rows} rows have at most {config.max_tokens} tokens (sft.max_tokens), fewer "
            f"than the {needed} of sft.validation_rows and sft.batch_sequences together: raise the first, lower one of "
            "the others, or give more rows"
        )
