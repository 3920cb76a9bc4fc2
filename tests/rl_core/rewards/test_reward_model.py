"""The learned reward model as a named reward, with a real model whose weights are random."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
)

from rl_core.config.rewards import RewardConfig
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import MistakeError
from rl_core.models.reward_model import RewardModel
from rl_core.rewards.reward_model import load_judge
from rl_core.rewards.scorer import Scorer
from rl_core.types import Score
from tests.rl_core.reward_models import save_reward_model

SYSTEM = {"role": "system", "content": "Answer in a box."}
PROMPTS = [({"role": "user", "content": f"Compute {number} a+2"},) for number in (1, 22, 333)]
RESPONSES = [r"\boxed{3}", r"1 a+2 = 3, so that \boxed{24} is what is asked for", "335"]
GOLDS = ["3", "24", "335"]
ROUNDING = 1e-5  # of float32: other shapes add in another order


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reward_model(tmp_path_factory.mktemp("reward") / "model")


def score(folder: Path, *rewards: RewardConfig, thought_open: bool = False, **kwargs: Any) -> list[Score]:
    learned = RewardConfig(
        name="reward_model", weight=kwargs.pop("weight", 1.0), kwargs={"model": str(folder), **kwargs}
    )
    scorer = Scorer([learned, *rewards])
    cut, thoughts = [False] * len(GOLDS), [thought_open] * len(GOLDS)
    return scorer.score(RESPONSES, GOLDS, cut, thought_open=thoughts, messages=PROMPTS)


def values(folder: Path, **kwargs: Any) -> list[float | None]:
    return [one.breakdown["reward_model"] for one in score(folder, **kwargs)]


def expected(folder: Path, prompt: tuple[dict[str, str], ...], response: str) -> float:
    """What transformers itself gives the conversation, alone and unpadded."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    text = tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": response}], tokenize=False)
    return model(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits.item()


@pytest.mark.parametrize("batch_tokens", [1, 64, 100_000])
@pytest.mark.parametrize("pad_token_id", [0, None])
def test_a_score_is_that_of_transformers_however_conversations_are_batched(
    tmp_path: Path, pad_token_id: int | None, batch_tokens: int
) -> None:
    folder = save_reward_model(tmp_path / "model", pad_token_id=pad_token_id)
    wanted = [expected(folder, *pair) for pair in zip(PROMPTS, RESPONSES, strict=True)]
    assert len({round(value, 3) for value in wanted}) == 3
    found = values(folder, batch_tokens=batch_tokens)
    assert found == pytest.approx(wanted, abs=ROUNDING)
    assert values(folder, batch_tokens=batch_tokens) == found


def test_padding_is_hidden_from_a_model_that_looks_both_ways(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=len(build_tokenizer()), hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=30, initializer_range=0.3, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    model, sequences = RewardModel(tmp_path), [[3, 4, 5, 6, 7], [8, 9]]
    assert model.scores(sequences, 1) == pytest.approx(model.scores(sequences, 10_000), abs=ROUNDING)


def test_the_system_turn_and_a_thought_that_the_template_opened_are_part_of_the_conversation(folder: Path) -> None:
    scorer = Scorer([RewardConfig(name="reward_model", kwargs={"model": str(folder)})])
    prompt, response = (SYSTEM, *PROMPTS[0]), "so 3 </think> \\boxed{3}"
    found = scorer.score([response], ["3"], [False], thought_open=[True], messages=[prompt])[0].reward
    assert found == pytest.approx(expected(folder, prompt, f"<think>\n{response}"), abs=ROUNDING)
    assert found != pytest.approx(expected(folder, prompt, response), abs=0.01)
    assert found != pytest.approx(expected(folder, PROMPTS[0], f"<think>\n{response}"), abs=0.01)


def test_a_conversation_longer_than_the_limit_is_unscored_and_said_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chats = [[*prompt, {"role": "assistant", "content": r}] for prompt, r in zip(PROMPTS, RESPONSES, strict=True)]
    lengths = [len(tokenizer.apply_chat_template(chat, return_dict=False)) for chat in chats]
    assert lengths[1] > lengths[0] > lengths[2]
    whole = values(folder)
    assert capsys.readouterr().err == ""
    assert values(folder, max_tokens=lengths[0]) == pytest.approx([whole[0], None, whole[2]], abs=ROUNDING)
    assert f"1 of 3 conversations are longer than {lengths[0]} tokens" in capsys.readouterr().err
    assert values(folder, max_tokens=1) == [None] * 3


def test_the_models_context_is_the_limit_where_none_is_given(tmp_path: Path) -> None:
    assert [value is None for value in values(save_reward_model(tmp_path / "model", context_tokens=20))] == [
        False, True, False,
    ]  # fmt: skip


def test_scores_are_brought_to_the_size_of_other_rewards_and_added_to_them_by_weight(folder: Path) -> None:
    plain = values(folder)
    assert values(folder, mean=0.5, scale=2.0) == pytest.approx([(value - 0.5) / 2 for value in map(float, plain)])
    shaped = RewardConfig(name="shaped", weight=0.5)
    for one, value in zip(score(folder, shaped, weight=0.5), plain, strict=True):
        assert one.breakdown["reward_model"] == pytest.approx(value, abs=ROUNDING)
        assert one.reward == pytest.approx(0.5 * value + 0.5 * one.breakdown["shaped"])
    assert [one.breakdown["shaped"] for one in score(folder, shaped)] == pytest.approx([1.2, 1.2, -1.0])


def test_a_score_that_is_no_number_leaves_its_response_unscored(folder: Path, tmp_path: Path) -> None:
    broken = save_reward_model(tmp_path / "model")
    weights = load_file(broken / "model.safetensors")
    weights["score.weight"] = weights["score.weight"] * math.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    assert values(broken) == [None] * 3


def test_the_model_is_asked_in_evaluation_mode_without_gradients_and_loaded_once(folder: Path) -> None:
    Scorer([RewardConfig(name="reward_model", kwargs={"model": str(folder)})]).warm_up()
    loaded = load_judge(str(folder))
    assert not loaded._model.training
    assert not any(parameter.requires_grad for parameter in loaded._model.parameters())
    values(folder)
    assert load_judge(str(folder)) is loaded


def test_a_model_without_its_head_is_refused_rather_than_given_a_random_one(tmp_path: Path) -> None:
    folder = save_reward_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MistakeError, match=r"holds no weights for score\.weight: it is not a trained reward model"):
        Scorer([RewardConfig(name="reward_model", kwargs={"model": str(folder)})]).warm_up()


def test_the_prompts_are_needed(folder: Path) -> None:
    with pytest.raises(ValueError, match="needs the messages"):
        Scorer([RewardConfig(name="reward_model", kwargs={"model": str(folder)})]).score(["1"], ["1"], [False])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"scale": 0}, "scale is 0: Input should be greater than 0"),
        ({"scale": "2"}, "scale is '2'"),
        ({"mean": math.nan}, "mean is nan"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"batch_tokens": 1.5}, "batch_tokens is 1.5"),
        ({"revision": 3}, "revision is 3"),
        ({"adapter": "x"}, "reward_model has no option `adapter`: it has model, revision, max_tokens"),
    ],
)
def test_wrong_options_are_refused_before_the_model_is_loaded(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(MistakeError, match=message):
        Scorer([RewardConfig(name="reward_model", kwargs={"model": "org/model", **kwargs})])


@pytest.mark.parametrize("kwargs", [{}, {"model": ""}, {"model": 3}])
def test_a_reward_model_without_a_model_is_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"reward_model needs kwargs\.model"):
        RewardConfig(name="reward_model", kwargs=kwargs)


def test_a_function_of_ones_own_may_bear_the_name(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def score(response, gold):\n    return 0.25\n")
    own = RewardConfig(name="reward_model", file=str(tmp_path / "own.py"))
    scorer = Scorer([own])
    scorer.warm_up()
    assert scorer.score(["1"], ["1"], [False])[0].reward == 0.25


def test_the_content_of_a_folder_identifies_the_reward_wherever_it_stands(tmp_path: Path) -> None:
    def identity(folder: Path, **kwargs: Any) -> str:
        return json.dumps(RewardConfig(name="reward_model", kwargs={"model": str(folder), **kwargs}).identity())

    one, other = (save_reward_model(tmp_path / name) for name in ("one", "other"))
    assert identity(one) == identity(other) == identity(one, batch_tokens=5)
    assert identity(one) != identity(one, mean=0.5)
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in weights.items()}, other / "model.safetensors")
    assert identity(one) != identity(other)


def test_a_name_on_the_hub_is_identified_with_its_revision() -> None:
    identities = [
        RewardConfig(name="reward_model", kwargs={"model": "org/none-here", **kwargs}).identity()
        for kwargs in ({}, {"revision": "main"}, {"revision": "v2"})
    ]
    assert identities[0] == identities[1] != identities[2]
