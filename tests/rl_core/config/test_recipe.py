"""The rules inside and between the sections, each with its message."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rl_core.config import EMBEDDED_PRESET, RecipeConfig, check_config, dump_config, load_config
from rl_core.errors import MistakeError


def recipe(**sections: Any) -> dict[str, Any]:
    """A small recipe as it would stand in a file."""
    source = {"source": "embedded"}
    return {
        "name": "small",
        "data": {"train": source, "test": source},
        "embedded": {},
        "policy": {"model_name": "embedded"},
        "stages": [{"name": "a", "steps": 1, "max_prompt_tokens": 8, "max_response_tokens": 16}],
        **sections,
    }


def stage(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "steps": 1, "max_prompt_tokens": 8, "max_response_tokens": 16, **fields}


def check(**sections: Any) -> RecipeConfig:
    return check_config(recipe(**sections), origin="here")


def test_a_stage_takes_what_it_leaves_out_from_the_recipes_own_sections() -> None:
    config = check(
        rollout={"num_prompts": 4, "num_samples": 2},
        algorithm={"minibatch_sequences": 8, "clip_high": 0.3},
        optimizer={"learning_rate": 1e-3},
        stages=[
            stage(),
            stage(name="b", algorithm={"clip_high": 0.1}, optimizer={"weight_decay": 0.5}, rollout=None),
            stage(name="c", rollout={"num_samples": 4}),
        ],
    )
    first, second, third = config.stages
    assert (first.rollout, first.algorithm, first.optimizer) == (config.rollout, config.algorithm, config.optimizer)
    assert (second.algorithm.clip_high, second.algorithm.minibatch_sequences) == (0.1, 8)
    assert (second.optimizer.learning_rate, second.optimizer.weight_decay) == (1e-3, 0.5)
    assert (third.rollout.num_prompts, third.rollout.num_samples) == (4, 4)


def test_a_mistake_in_a_shared_section_is_told_once_and_not_for_every_stage() -> None:
    with pytest.raises(MistakeError) as refused:
        load_config(overrides=["rollout.temperature=0"])
    assert str(refused.value).splitlines() == [
        f"{EMBEDDED_PRESET} is not a valid recipe:",
        "  rollout.temperature: Input should be greater than 0 (received 0)",
    ]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"stages": [stage(), stage()]},
            "the settings: stages: two stages share a name: a, a",
        ),
        (
            {"embedded": None},
            "the settings: policy or data is `embedded`: the section `embedded` is needed ({} takes the defaults)",
        ),
        (
            {
                "policy": {"model_name": "some/model"},
                "data": {name: {"source": "path", "path": "x.json"} for name in ("train", "test")},
            },
            "the settings: `embedded` is given, but neither policy nor data uses it: remove it",
        ),
        (
            {"stages": [stage(), stage(name="b", max_response_tokens=249)]},
            "the settings: stages.1: 257 tokens of prompt and response, but the model's context is 256 "
            "(embedded.context_tokens)",
        ),
        (
            {"rollout": {"num_prompts": 8, "num_samples": 1}, "algorithm": {"minibatch_sequences": 8}},
            "stages.0: rollout.num_samples is 1, but responses to one problem are compared with each other: "
            "algorithm.baseline is 'group_mean', and nothing would be learned; take at least 2, or another baseline or "
            "scale",
        ),
        (
            {
                "rollout": {"num_prompts": 8, "num_samples": 2},
                "algorithm": {"minibatch_sequences": 8, "baseline": "leave_one_out", "scale": "leave_one_out_std"},
            },
            "stages.0: rollout.num_samples is 2, but responses to one problem are compared with each other: "
            "algorithm.scale is 'leave_one_out_std', and one other response has no spread; take at least 3, or another "
            "baseline or scale",
        ),
        (
            {"critic": {"warmup_steps": 5}, "algorithm": {"baseline": "critic", "scale": "none"}},
            "the settings: critic.warmup_steps is 5, and stage a has 1 steps: the policy would not learn in it; take "
            "fewer",
        ),
        (
            {"algorithm": {"kl_in": "reward", "kl_estimator": "k1"}},
            "the settings: algorithm.kl_in does nothing: algorithm.kl_coefficient is 0 in every stage",
        ),
        (
            {"algorithm": {"objective": "policy_gradient", "clip_high": 0.3}},
            "algorithm: clip_high does nothing with objective 'policy_gradient', which has no ratio to clip",
        ),
        (
            {"algorithm": {"objective": "cpgd", "max_drift": 1.0}},
            "algorithm: max_drift does nothing without drift_coefficient",
        ),
        (
            {"validation": {"temperature": 0}},
            "validation: temperature 0 gives one answer: num_samples must be 1, or temperature above 0",
        ),
        (
            {"rewards": [{"name": "boxed"}, {"name": "overlong_penalty"}]},
            "the settings: rewards.1.kwargs.buffer_tokens is 4096: overlong_penalty needs at least 1, and at most what "
            "stage a leaves to a response behind its longest prompt, 16 tokens",
        ),
        (
            {"rewards": [{"name": "overlong_penalty", "kwargs": {"buffer_tokens": 0}}]},
            "the settings: rewards.0.kwargs.buffer_tokens is 0: overlong_penalty needs at least 1, and at most what "
            "stage a leaves to a response behind its longest prompt, 16 tokens",
        ),
        (
            {"sft": {"data": {"source": "embedded"}, "max_tokens": 64}, "stages": [stage(name="sft")]},
            "the settings: stages: one is named sft, as the part that `sft` adds is: give it another name",
        ),
        (
            {"rewards": [{"name": "reward_model", "kwargs": {"model": "trained"}}]},
            "the settings: rewards: reward_model has kwargs.model: trained: the section `reward_model` is needed ({} "
            "takes the defaults)",
        ),
        (
            {"pairs": {}, "reward_model": {}},
            "the settings: `reward_model` is given, but no reward uses it: add {name: reward_model, kwargs: {model: "
            "trained}} to `rewards`, or remove it",
        ),
        (
            {"rewards": [{"name": "reward_model", "kwargs": {"model": "trained"}}], "reward_model": {}},
            "the settings: `reward_model` learns from pairs: the section `pairs` is needed ({} takes the defaults)",
        ),
        (
            {"pairs": {"pairs_per_problem": 3, "num_samples": 5}},
            "pairs: pairs_per_problem is 3, but num_samples is 5, and no response is in two pairs: 2 at most, or more "
            "samples",
        ),
        (
            {"pairs": {}},
            "the settings: `pairs` is given, but nothing learns from it: add `reward_model`, or remove it",
        ),
        (
            {"rewards": [{"name": "reward_model", "kwargs": {"model": "trained", "revision": "main"}}]},
            "rewards.0: kwargs.revision does nothing with kwargs.model: trained, which this run makes",
        ),
        (
            {"algorithm": {"minibatch_sequences": 100}},
            "stages.0: algorithm.minibatch_sequences is 100, which does not divide rollout.num_prompts x "
            "rollout.num_samples = 1024",
        ),
        (
            {"stages": [stage(max_total_tokens=8)]},
            "stages.0: max_total_tokens is 8, which leaves no response to a prompt of max_prompt_tokens (8)",
        ),
        (
            {"data": {"train": {"source": "hub", "repo_id": "a/b"}, "test": {"source": "embedded"}}},
            "data.train: source: hub needs `repo_id` and `file`",
        ),
        (
            {"data": {"train": {"source": "path"}, "test": {"source": "embedded"}}},
            "data.train: source: path needs `path`",
        ),
        (
            {"data": {"train": {"source": "held_out"}, "test": {"source": "embedded"}}},
            "data: train: source: held_out is for data.test, whose rows it draws out of data.train",
        ),
        (
            {"data": {"train": {"source": "embedded"}, "test": {"source": "held_out", "max_rows": 9}}},
            "data.test: max_rows does nothing with source: held_out",
        ),
        (
            {"data": {"train": {"source": "embedded", "seed": 3}, "test": {"source": "embedded"}}},
            "data.train: seed does nothing with source: embedded",
        ),
        (
            {"evaluation": {"protocol": {"temperature": 0, "num_samples": 2}}},
            "evaluation.protocol: temperature 0 gives one answer: num_samples must be 1, or temperature above 0",
        ),
        (
            {"embedded": {"max_depth": 27}},
            "embedded.max_depth: Input should be less than or equal to 26 (received 27)",
        ),
        (
            {"algorithm": {"correction": {"max_weight": 2}}},
            "algorithm.correction: max_weight does nothing without `weight`: token, sequence or "
            "sequence_geometric_mean",
        ),
        (
            {"algorithm": {"correction": {"weight": "token", "mask_high": 2}}},
            "algorithm.correction: mask_low and mask_high do nothing without `mask`",
        ),
        (
            {"algorithm": {"correction": {"mask": "sequence"}}},
            "algorithm.correction: mask does nothing without a bound: give mask_low, mask_high or both",
        ),
        (
            {"algorithm": {"correction": {"mask": "token", "mask_low": 1.1}}},
            "algorithm.correction.mask_low: Input should be less than 1 (received 1.1)",
        ),
        (
            {"algorithm": {"old_logprobs": "sampler", "correction": {"weight": "token"}}},
            "algorithm: correction does nothing with old_logprobs: sampler, whose ratio is of the sampler already: "
            "take one of the two",
        ),
    ],
)
def test_a_rule_that_is_broken_is_explained(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(MistakeError) as refused:
        check(**sections)
    assert str(refused.value).splitlines() == ["here is not a valid recipe:", f"  {message}"]


@pytest.mark.parametrize("template", ["no place for it", "{problem} twice {problem}", "{ problem }"])
def test_a_prompt_template_holds_the_problem_once(template: str) -> None:
    source = {"source": "embedded"}
    with pytest.raises(MistakeError, match=r"data.prompt_template: must hold \{problem\} exactly once"):
        check(data={"train": source, "test": source, "prompt_template": template})


def test_the_file_of_a_chat_template_is_read_so_that_the_resolved_recipe_holds_its_text(tmp_path: Path) -> None:
    text = "{% for message in messages %}\n{{ message.content }} \u2264\n{% endfor %}"
    (tmp_path / "template.jinja").write_text(text, encoding="utf-8")
    source = {"source": "embedded"}
    config = check(data={"train": source, "test": source, "chat_template": str(tmp_path / "template.jinja")})
    assert config.data.chat_template == text
    resolved = tmp_path / "config.yaml"
    resolved.write_text(dump_config(config), encoding="utf-8")
    assert load_config(resolved).data.chat_template == text


@pytest.mark.parametrize(
    ("name", "reason"), [("absent.jinja", "No such file or directory"), ("latin.jinja", "not UTF-8"), (".", "Is a dir")]
)
def test_a_chat_template_that_is_neither_jinja_nor_a_file_is_refused(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latin.jinja").write_bytes(b"{{ \xe9 }}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MistakeError) as refused:
        load_config(overrides=[f"data.chat_template={name}"])
    assert (
        str(refused.value)
        .splitlines()[1]
        .startswith(
            f"  data.chat_template: holds no Jinja ({{{{ or {{%), and no file of that name can be read from {tmp_path} "
            f"({reason}"
        )
    )


def test_a_reward_model_can_read_the_longest_responses_of_pairs_behind_a_prompt_by_default() -> None:
    trained = [{"name": "reward_model", "kwargs": {"model": "trained"}}]
    config = check(pairs={}, reward_model={}, rewards=trained)
    assert config.pairs is not None
    assert config.reward_model is not None
    assert config.reward_model.max_tokens - config.pairs.max_new_tokens == 512


def test_a_context_is_prompt_and_response_unless_bounded() -> None:
    config = check(stages=[stage(), stage(name="b", max_total_tokens=20)])
    assert [stage.context_tokens for stage in config.stages] == [24, 20]


def test_the_configuration_cannot_be_changed_afterwards() -> None:
    config = load_config()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]
