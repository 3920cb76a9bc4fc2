"""What a model was trained on, and that it is said out loud when it is asked otherwise."""

import json
from pathlib import Path

import pytest

from rl_core.config.data import PromptConfig
from rl_core.evaluation.prompts import from_elsewhere, prompt_facts, prompt_record, prompt_warning, trained_prompt

TRAINED = PromptConfig(prompt_template="Q: {problem}", system_prompt="Be brief.")
OTHER = PromptConfig(prompt_template="{problem} Think.")


def test_the_record_of_a_model_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"prompt": prompt_record(TRAINED)}))
    assert trained_prompt(tmp_path) == TRAINED


def test_a_model_of_a_run_was_trained_as_the_run_says(tmp_path: Path) -> None:
    model = tmp_path / "run" / "stages" / "1-8k" / "hf"
    model.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text('data: {prompt_template: "Q: {problem}", system_prompt: Be brief.}')
    assert trained_prompt(model) is None  # no run yet: its digest is missing
    (tmp_path / "run" / "config.digest").write_text("x")
    assert trained_prompt(model) == TRAINED


@pytest.mark.parametrize(("model_name", "known"), [("embedded", TRAINED), ("owner/name", None)])
def test_a_base_model_that_a_run_took_from_elsewhere_was_not_trained_as_the_run_says(
    model_name: str, known: PromptConfig | None, tmp_path: Path
) -> None:
    data = 'data: {prompt_template: "Q: {problem}", system_prompt: Be brief.}'
    (tmp_path / "config.yaml").write_text(f"policy: {{model_name: {model_name}}}\n{data}")
    (tmp_path / "config.digest").write_text("x")
    base = tmp_path / "base"
    base.mkdir()
    assert trained_prompt(base) == known
    assert from_elsewhere(base) == (known is None)
    (base / "manifest.json").write_text(json.dumps({"prompt": prompt_record(OTHER)}))
    assert trained_prompt(base) == OTHER


@pytest.mark.parametrize("text", ["", "[]", "data: 3", "data: {prompt_template: x}", "{"])
def test_a_recipe_that_says_nothing_of_it_is_no_record(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.digest").write_text("x")
    (tmp_path / "config.yaml").write_text(text)
    assert trained_prompt(tmp_path / "base") is None


def test_a_difference_is_said_and_kept() -> None:
    assert prompt_warning(TRAINED, TRAINED) is None
    assert prompt_facts(TRAINED, TRAINED) == {"trained_with": prompt_record(TRAINED), "as_trained": True}
    assert prompt_warning(OTHER, TRAINED) == (
        "warning: this model is not asked as it was trained: prompt_template '{problem} Think.', trained with "
        "'Q: {problem}'; system_prompt None, trained with 'Be brief.'"
    )
    assert prompt_facts(OTHER, TRAINED)["as_trained"] is False


def test_not_to_know_is_said_too() -> None:
    assert "nothing says what this model was trained on" in (prompt_warning(OTHER, None) or "")
    assert prompt_facts(OTHER, None) == {"trained_with": None, "as_trained": None}
