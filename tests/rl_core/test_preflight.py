import json
from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import MistakeError
from rl_core.preflight import check_inputs
from rl_core.run_dir import RunDir
from tests.rl_core.tiny import tiny_qwen2


def check(tmp_path: Path, *overrides: str) -> None:
    check_inputs(RunDir(tmp_path / "run", load_config(overrides=overrides)))
    assert not (tmp_path / "run").exists()


def own_model(tmp_path: Path, context: int) -> str:
    tiny_qwen2(context_tokens=context).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    return f"policy.model_name={tmp_path / 'model'}"


def test_the_embedded_recipe_needs_nothing(tmp_path: Path) -> None:
    check(tmp_path)


def test_a_local_data_set_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    override = f"data.test={{source: path, path: {file}}}"
    with pytest.raises(MistakeError, match=r"rows\.json"):
        check(tmp_path, override)
    file.write_text("[]")
    with pytest.raises(MistakeError, match=r"rows\.json"):
        check(tmp_path, override)
    file.write_text(json.dumps([{"problem": "1+1", "answer": "2", "solution": "2"}]))
    check(tmp_path, override)


def test_answers_to_learn_from_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    override = f"sft={{data: {{source: path, path: {file}, response: solution}}, max_tokens: 100}}"
    with pytest.raises(MistakeError, match=r"sft\.data\.path is .*answers\.jsonl': no such file or folder"):
        check(tmp_path, override)
    file.write_text(json.dumps({"problem": "1+1", "answer": "2"}))
    with pytest.raises(MistakeError, match=r"sft\.data\.solution_column is 'solution', but answers\.jsonl has no such"):
        check(tmp_path, override)
    file.write_text(json.dumps({"problem": "1+1", "answer": "2", "solution": "2"}))
    check(tmp_path, override)


def test_rows_longer_than_the_context_of_the_model_are_told(tmp_path: Path) -> None:
    model = own_model(tmp_path, 160)
    with pytest.raises(MistakeError, match=r"sft\.max_tokens is 161, but the context of .* is 160"):
        check(tmp_path, model, "sft={data: {source: embedded}, max_tokens: 161}")
    check(tmp_path, model, "sft={data: {source: embedded}, max_tokens: 160}")
    with pytest.raises(MistakeError, match=r"sft\.max_tokens is 1024, but the model's context is 256"):
        check(tmp_path, "sft={data: {source: embedded}}")


def test_responses_of_pairs_that_leave_no_prompt_in_the_context_of_the_model_are_told(tmp_path: Path) -> None:
    model = own_model(tmp_path, 160)
    trained = ("rewards=[{name: reward_model, kwargs: {model: trained}}]", "reward_model={max_tokens: 160}")
    with pytest.raises(MistakeError, match=r"pairs\.max_new_tokens is 160, but the context of .* is 160 .* lower it"):
        check(tmp_path, model, *trained, "pairs={max_new_tokens: 160}")
    check(tmp_path, model, *trained, "pairs={max_new_tokens: 159}")


def test_a_model_folder_that_is_not_there_or_holds_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="no such folder"):
        check(tmp_path, f"policy.model_name={tmp_path / 'absent'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MistakeError, match=r"config\.json"):
        check(tmp_path, f"policy.model_name={tmp_path / 'empty'}")
    check(tmp_path, "policy.model_name=owner/on-the-hub")


def test_a_stage_longer_than_the_context_of_a_local_model_is_told(tmp_path: Path) -> None:
    model = own_model(tmp_path, 150)
    with pytest.raises(MistakeError, match=r"stages\.2: 160 tokens .* 150"):
        check(tmp_path, model)
    check(tmp_path, model, "policy.hf_config_overrides.max_position_embeddings=160")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}", "data.chat_template: not Jinja, in line 1: "),
        ("{{ message.content }", "data.chat_template: not Jinja, in line 1: "),
        ("{{ messages[0].role }}", "data.chat_template: renders nothing of the problem: it must show"),
        ("{{ raise_exception('no user turns') }}", "data.chat_template: cannot render user turns: no user turns"),
        ("{{ 1 // 0 }}", "data.chat_template: cannot render user turns: "),
    ],
)
def test_a_chat_template_that_shows_no_problem_is_told(tmp_path: Path, template: str, message: str) -> None:
    with pytest.raises(MistakeError) as refused:
        check(tmp_path, f'data.chat_template="{template}"')
    assert str(refused.value).startswith(message)


def test_a_chat_template_that_leaves_out_the_system_prompt_is_told(tmp_path: Path) -> None:
    template = "data.chat_template='{{ messages[-1].content }}'"
    check(tmp_path, template)
    with pytest.raises(MistakeError, match=r"data\.chat_template: renders nothing of data\.system_prompt"):
        check(tmp_path, template, "data.system_prompt=Be brief.")


def test_a_chat_template_may_use_what_transformers_offers(tmp_path: Path) -> None:
    (tmp_path / "template.jinja").write_text(
        "{{ bos_token }}{{ strftime_now('%d %b %Y') }}{{ tools | tojson(indent=2) if tools }}\n"
        "{% for message in messages %}{% if loop.index > 9 %}{% break %}{% endif %}\n"
        "{% generation %}{{ message['content'] | trim }}{% endgeneration %}\n{% endfor %}"
    )
    check(tmp_path, f"data.chat_template={tmp_path / 'template.jinja'}")


def test_a_critics_folder_that_is_not_there_or_holds_no_model_is_told(tmp_path: Path) -> None:
    critic = ("algorithm.baseline=critic", "algorithm.scale=none")
    check(tmp_path, *critic, "critic={}")
    with pytest.raises(MistakeError, match=r"critic\.model_name is '.*absent': no such folder"):
        check(tmp_path, *critic, f"critic.model_name={tmp_path / 'absent'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MistakeError, match=r"critic\.model_name is .*empty': the folder holds no readable config"):
        check(tmp_path, *critic, f"critic.model_name={tmp_path / 'empty'}")
    own_model(tmp_path, 160)
    check(tmp_path, *critic, f"critic.model_name={tmp_path / 'model'}")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(MistakeError, match=r"critic\.model_name is .*model': holds no model\.safetensors"):
        check(tmp_path, *critic, f"critic.model_name={tmp_path / 'model'}")
