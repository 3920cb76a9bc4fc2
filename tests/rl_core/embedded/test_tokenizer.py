import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2Tokenizer

from rl_core.config import EmbeddedConfig
from rl_core.config.embedded import AnswerFormat
from rl_core.embedded.task import Chain, make_problems
from rl_core.embedded.tokenizer import NUMBERS, OPERATIONS, TAGS, build_tokenizer
from tests.rl_core.tiny import tiny_qwen2

TOKENIZER = build_tokenizer()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """As a user gets it from a model's folder."""
    folder = tmp_path_factory.mktemp("model")
    TOKENIZER.save_pretrained(folder)
    tiny_qwen2(vocabulary=len(TOKENIZER)).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


# Qwen2Tokenizer normalises to NFC; texts that are not in that form come back in it.
nfc_text = st.text().map(lambda text: unicodedata.normalize("NFC", text))


@given(nfc_text)
def test_any_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@given(st.text(alphabet="0123456789abc+-= \n\\boxed{}Compute"))
def test_any_text_like_the_tasks_own_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


def test_problems_and_solutions_come_back_from_the_loaded_tokenizer_with_the_same_ids(
    loaded: PreTrainedTokenizerBase,
) -> None:
    assert type(loaded) is Qwen2Tokenizer
    texts = ["Sei \u03b1 \u2264 \u221a2, d\u2019o\u00f9 $x^{10}+\\frac{1}{2}$", "  \n\t 007 100 99+10-9", "\U0001f600"]
    for row in make_problems(EmbeddedConfig(train_problems=40, test_problems=8), 0)["train"]:
        texts += [row["problem"], row["solution"]]
    for text in texts:
        ids = loaded(text)["input_ids"]
        assert ids == TOKENIZER(text)["input_ids"]
        assert loaded.decode(ids) == text


@pytest.mark.parametrize("text", [*NUMBERS, *OPERATIONS])
def test_a_number_of_two_digits_and_an_operation_are_one_token_each(text: str) -> None:
    assert len(TOKENIZER(text)["input_ids"]) == 1


def test_a_step_of_arithmetic_is_six_tokens() -> None:
    pieces = [TOKENIZER.decode([token]) for token in TOKENIZER("12a+5=17\n")["input_ids"]]
    assert pieces == ["12", "a", "+5", "=", "17", "\n"]
    assert [TOKENIZER.decode([token]) for token in TOKENIZER("Compute 3 a-9")["input_ids"]] == [
        "Compute", " ", "3", " a", "-9",
    ]  # fmt: skip


def test_the_chat_template_and_its_special_tokens(loaded: PreTrainedTokenizerBase) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Compute 1 a+2"}]
    text = "<|system|>Be brief.<|user|>Compute 1 a+2"
    assert loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == text + "<|assistant|>"
    ids = loaded.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == loaded(text + "<|assistant|>")["input_ids"]
    answered = [*messages, {"role": "assistant", "content": "\\boxed{3}"}]
    assert loaded.apply_chat_template(answered, tokenize=False) == text + "<|assistant|>\\boxed{3}<|end|>"
    for token in ("<|end|>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"):
        (number,) = loaded(token)["input_ids"]
        assert loaded.decode([number], skip_special_tokens=True) == ""
    assert (loaded.eos_token, loaded.pad_token) == ("<|end|>", "<|endoftext|>")
    assert loaded.eos_token_id != loaded.pad_token_id


@pytest.mark.parametrize("answer_format", ["answer_tag", "thought"])
def test_a_form_with_tags_has_one_token_for_each_behind_those_that_every_form_has(
    answer_format: AnswerFormat, tmp_path: Path
) -> None:
    tagged = build_tokenizer(answer_format)
    text = Chain(12, (5, -6)).solution(answer_format)
    ids = tagged(text)["input_ids"]
    assert [tagged(tag)["input_ids"] for tag in TAGS[answer_format]] == [[406], [407]]
    assert tagged.decode(ids, skip_special_tokens=True) == text
    # A step is six tokens in every form; the rest is 3 of <answer>11</answer>, or 7 of <think>\n</think>\boxed{11}.
    assert len(ids) == 2 * 6 + {"answer_tag": 3, "thought": 7}[answer_format]
    plain = Chain(12, (5, -6)).solution()
    assert tagged(plain)["input_ids"] == TOKENIZER(plain)["input_ids"]
    tagged.save_pretrained(tmp_path)
    tiny_qwen2(vocabulary=len(tagged)).save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == ids


def test_the_ids_are_always_the_same() -> None:
    assert len(TOKENIZER) == 406
    assert TOKENIZER("Compute 12 a+5")["input_ids"] == build_tokenizer()("Compute 12 a+5")["input_ids"]
