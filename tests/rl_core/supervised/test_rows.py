"""From problems and answers to what is trained on: which token ends a response, and what becomes of long rows."""

import json
from pathlib import Path

import pytest
from transformers import GenerationConfig, PreTrainedTokenizerBase

from rl_core.config import load_config
from rl_core.data.parquet import PromptedProblem, write_problems
from rl_core.data.raw import RawRow
from rl_core.data.rows import Row
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import MistakeError
from rl_core.run_dir import RunDir
from rl_core.supervised.rows import end_token, fitting, load_rows

SFT = "{data: {source: embedded}, batch_sequences: 4, validation_rows: 3, max_tokens: %d}"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer()


def problem(number: int, solution: str) -> PromptedProblem:
    text = f"Compute {number} a+1"
    return PromptedProblem(number, text, "1", ({"role": "user", "content": text},), solution)


def test_a_row_is_the_prompt_that_is_asked_with_and_the_answer_with_its_end(tokenizer: PreTrainedTokenizerBase) -> None:
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    (sample,) = fitting([problem(12, "12a+1=13\n\\boxed{13}")], tokenizer, end, 100)
    assert tokenizer.decode(sample.prompt_ids) == "<|user|>Compute 12 a+1<|assistant|>"
    assert tokenizer.decode(sample.response_ids) == "12a+1=13\n\\boxed{13}<|end|>"


def test_a_row_that_is_too_long_is_left_out_whole(tokenizer: PreTrainedTokenizerBase) -> None:
    problems = [problem(12, "12a+1=13\n\\boxed{13}"), problem(13, "13a+1=14\n\\boxed{14}" * 9), problem(14, "15")]
    sizes = [sample.num_tokens for sample in fitting(problems, tokenizer, 0, 1000)]
    kept = fitting(problems, tokenizer, 0, sizes[0])
    assert [sample.row for sample in kept] == [0, 2]
    assert [sample.num_tokens for sample in kept] == [sizes[0], sizes[2]]
    assert [sample.row for sample in fitting(problems, tokenizer, 0, sizes[0] - 1)] == [2]


@pytest.fixture
def thinking() -> PreTrainedTokenizerBase:
    """Whose chat template opens a thought in the prompt, as DeepSeek-R1-Distill's does."""
    tokenizer = build_tokenizer("thought")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "'<|assistant|>' }}{% endif %}", "'<|assistant|><think>\\n' }}{% endif %}"
    )
    return tokenizer


@pytest.mark.parametrize(
    "trace", ["<think>\n1+1\n</think>\\boxed{2}", "\n<think>1+1\n</think>\\boxed{2}", "1+1\n</think>\\boxed{2}"]
)
def test_a_trace_is_learned_inside_the_thought_that_the_prompt_opens(
    thinking: PreTrainedTokenizerBase, trace: str
) -> None:
    (sample,) = fitting([problem(12, trace)], thinking, thinking.eos_token_id, 100)
    whole = thinking.decode([*sample.prompt_ids, *sample.response_ids])
    assert whole == "<|user|>Compute 12 a+1<|assistant|><think>\n1+1\n</think>\\boxed{2}<|end|>"


def test_a_trace_has_its_own_tag_where_the_prompt_opens_no_thought(tokenizer: PreTrainedTokenizerBase) -> None:
    (sample,) = fitting([problem(12, "<think>\n1\n</think>2")], tokenizer, tokenizer.eos_token_id, 100)
    assert tokenizer.decode(sample.response_ids) == "<think>\n1\n</think>2<|end|>"


def test_answers_that_would_never_end_the_thought_of_the_prompt_are_refused(
    tmp_path: Path, thinking: PreTrainedTokenizerBase, tokenizer: PreTrainedTokenizerBase
) -> None:
    run, generation = run_with_answers(tmp_path, 20, 200), GenerationConfig(eos_token_id=thinking.eos_token_id)
    with pytest.raises(MistakeError, match=r"sft\.data\.response is 'trace': 20 of 20 answers have no </think>,"):
        load_rows(run, thinking, generation)
    assert load_rows(run, tokenizer, generation).train


def test_the_end_is_what_the_chat_template_writes_of_the_tokens_that_the_model_stops_at(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    end, text_end, user = tokenizer.convert_tokens_to_ids(["<|end|>", "<|endoftext|>", "<|user|>"])
    assert end_token(tokenizer, GenerationConfig(eos_token_id=[text_end, end])) == end
    assert end_token(tokenizer, GenerationConfig(eos_token_id=[user, text_end])) == user  # the template writes neither
    with pytest.raises(MistakeError, match="names no eos_token_id"):
        end_token(tokenizer, GenerationConfig())


def test_the_end_is_found_where_the_prompt_opens_a_thought_as_well(thinking: PreTrainedTokenizerBase) -> None:
    end, text_end = thinking.convert_tokens_to_ids(["<|end|>", "<|endoftext|>"])
    assert end_token(thinking, GenerationConfig(eos_token_id=[text_end, end])) == end


def run_with_answers(folder: Path, count: int, max_tokens: int) -> RunDir:
    run = RunDir(folder, load_config(overrides=["sft=" + SFT % max_tokens, "data.prompt_template='{problem}'"]))
    run.data.mkdir(parents=True)
    rows = [
        Row(f"Compute {n} a+1", "1", "1" + "\n" * n, RawRow("file", n, {"problem": json.dumps(n)}))
        for n in range(count)
    ]
    write_problems(run.data / "sft.parquet", rows, split="sft", data_source="test", data=run.config.data)
    return run


def test_the_rows_whose_loss_is_measured_are_not_trained_on_and_are_the_same_every_time(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    generation = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    run = run_with_answers(tmp_path, 20, 200)
    rows = load_rows(run, tokenizer, generation)
    assert (len(rows.train), len(rows.validation), rows.num_set_aside) == (17, 3, 0)
    of_both = sorted(sample.row for sample in rows.train + rows.validation)
    assert of_both == list(range(20))
    assert load_rows(run, tokenizer, generation) == rows


def test_too_few_rows_that_are_short_enough_are_a_mistake(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    run = run_with_answers(tmp_path, 20, 14)
    message = r"sft: \d of 20 rows have at most 14 tokens \(sft\.max_tokens\), fewer than the 7 of sft\.validation_rows"
    with pytest.raises(MistakeError, match=message):
        load_rows(run, tokenizer, GenerationConfig(eos_token_id=tokenizer.eos_token_id))
