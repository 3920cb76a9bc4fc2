"""A model of the critic's own must know the policy's tokens, and reach as far as every stage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from rl_core.config import load_config
from rl_core.errors import MistakeError
from rl_core.models.critic_fit import check_fit
from tests.rl_core.models.critics import CRITIC, edit, save_critic

PADDED = 512  # more than the embedded tokenizer has


def check(critic: Path, policy: Path, *overrides: str) -> None:
    check_fit(critic, policy, load_config(overrides=[*CRITIC, f"critic.model_name={critic}", *overrides]))


@pytest.fixture
def critic(tmp_path: Path) -> Path:
    return save_critic(tmp_path / "critic")


def exchange(folder: Path) -> None:
    """Two tokens change places."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    ids["A"], ids["B"] = ids["B"], ids["A"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def add_token(folder: Path, token: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([token])
    tokenizer.save_pretrained(folder)


def remove_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


MISFITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "fewer tokens": (
        lambda folder: edit(folder / "config.json", vocab_size=100), r"it has embeddings for 100 tokens \(vocab_size\)"
    ),
    "a shorter context": (
        lambda folder: edit(folder / "config.json", max_position_embeddings=150),
        r"its context is 150 \(max_position_embeddings\), but stages\.2 has 160 tokens of prompt and response",
    ),
    "tokens by other ids": (
        exchange,
        r"its tokenizer is not that of embedded: 2 of \d+ tokens are others, first 'A', which has id \d+ and has id",
    ),
    "no tokenizer": (remove_tokenizer, "it holds no tokenizer, by which to see that its ids are the policy's"),
    "a tokenizer that is none": (
        lambda folder: (folder / "tokenizer.json").write_text("{}"), "the tokenizer in .*critic cannot be loaded: "
    ),
    "a family without a classifier": (
        lambda folder: edit(folder / "config.json", model_type="opt"), "no critic can be made of .*critic"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_refused_by_its_description(critic: Path, own_model: Path, case: str) -> None:
    (critic / "model.safetensors").unlink()  # which is fetched later
    check(critic, own_model)
    spoil, reason = MISFITS[case]
    spoil(critic)
    with pytest.raises(MistakeError, match=rf"^critic\.model_name( is '{critic}')?: {reason}"):
        check(critic, own_model)


def test_a_token_that_the_policy_alone_has_is_told(critic: Path, own_model: Path) -> None:
    add_token(own_model, "<pause>")
    edit(critic / "config.json", vocab_size=PADDED)
    with pytest.raises(MistakeError, match=r"1 of \d+ tokens are others, first '<pause>', which .* is no token for"):
        check(critic, own_model)


def test_what_the_policy_does_not_read_may_differ(critic: Path, own_model: Path) -> None:
    (critic / "chat_template.jinja").write_text("{{ messages }}")
    add_token(critic, "[PAD]")
    edit(critic / "config.json", vocab_size=PADDED)
    check(critic, own_model)


def test_embeddings_that_a_policy_has_beyond_its_last_token_are_not_asked_of_the_critic(
    critic: Path, own_model: Path
) -> None:
    edit(own_model / "config.json", vocab_size=PADDED)
    check(critic, own_model)
