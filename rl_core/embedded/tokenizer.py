"""The embedded model's tokenizer: a small byte-level BPE of the kind that Qwen2Tokenizer expects.

transformers' AutoTokenizer builds Qwen2Tokenizer for every `model_type: qwen2`, whatever a saved tokenizer says of
itself; one with another pre-tokenizer would silently lose characters. Byte-level BPE takes any text, so real problems
pass through the small model too. Numbers and operations are added tokens, matched before the pre-tokenizer would cut
them into digits: one token each makes a step of arithmetic six tokens long.
"""

from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import AddedToken, Qwen2Tokenizer

from rl_core.config.embedded import AnswerFormat
from rl_core.embedded.task import ANSWER_CLOSES, ANSWER_OPENS, LETTERS, MAX_OPERAND
from rl_core.rewards.answers import THOUGHT_CLOSES, THOUGHT_OPENS

END_OF_TEXT, END, SYSTEM, USER, ASSISTANT = "<|endoftext|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
WORDS = ("Compute", "\\boxed", *(f" {letter}" for letter in LETTERS))
NUMBERS = tuple(str(number) for number in range(10, 100))
OPERATIONS = tuple(f"{sign}{operand}" for sign in "+-" for operand in range(1, MAX_OPERAND + 1))
TAGS: dict[AnswerFormat, tuple[str, ...]] = {
    "boxed": (),
    "answer_tag": (ANSWER_OPENS, ANSWER_CLOSES),
    "thought": (THOUGHT_OPENS, THOUGHT_CLOSES),
}

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ '<|system|>' + message.content }}"
    "{% elif message.role == 'user' %}{{ '<|user|>' + message.content }}"
    "{% else %}{{ '<|assistant|>' + message.content + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build_tokenizer(answer_format: AnswerFormat = "boxed") -> Qwen2Tokenizer:
    """A tokenizer that can be saved and loaded by AutoTokenizer, with its chat template."""
    vocabulary, merges = _byte_pairs(WORDS)
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        eos_token=END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
    )
    added = (*NUMBERS, *OPERATIONS, *TAGS[answer_format])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _byte_pairs(words: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The 256 bytes, and merges that build each word from left to right."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in words:
        characters = word.replace(" ", "\u0120")  # the byte-level alphabet's sign for a space
        prefixes = [characters[:end] for end in range(1, len(characters) + 1)]
        for prefix, longer in pairwise(prefixes):
            if longer not in symbols:
                symbols.append(longer)
                merges.append((prefix, longer[-1]))
    return {symbol: index for index, symbol in enumerate(symbols)}, merges
