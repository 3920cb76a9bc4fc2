"""The settings of an evaluation that belongs to no run: flags, overrides and a recipe, each where it counts."""

from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.config.standalone import standalone_config
from rl_core.errors import MistakeError


def test_without_a_recipe_the_protocol_is_the_papers_and_flags_change_it() -> None:
    config = standalone_config("model", "aime24", {"num_samples": 2}, None, [])
    protocol = config.evaluation.protocol
    assert (protocol.base, protocol.num_samples, protocol.verifier) == ("paper", 2, "deepscaler")
    assert config.data is None


def test_an_override_changes_the_protocol_that_a_flag_names() -> None:
    overrides = ["evaluation.protocol.prompt_template='Q: {problem}'", "rollout.engine=transformers"]
    config = standalone_config("model", "aime24", {"base": "nemo"}, None, overrides)
    protocol = config.evaluation.protocol
    assert (protocol.base, protocol.temperature, protocol.prompt_template) == ("nemo", 1.0, "Q: {problem}")
    assert config.rollout.engine == "transformers"


def test_a_recipe_gives_its_protocol_its_prompts_and_how_models_are_run(repository: Path) -> None:
    recipe = repository / "configs" / "ppo_qwen2_5_7b.yaml"
    config = standalone_config(
        "model", "aime24", {"seed": 7}, recipe, ["rollout.engine=transformers", "policy.dtype=float32"]
    )
    assert config.data is not None
    assert config.data.prompt_template.endswith("output the final within \\boxed{}.")
    assert (config.evaluation.protocol.temperature, config.evaluation.protocol.seed) == (0, 7)
    assert (config.policy.model_name, config.policy.dtype) == ("model", "float32")
    assert config.evaluation.benchmarks == ("aime24",)
    named = standalone_config("model", "aime24", {"base": "paper"}, recipe, ["evaluation.protocol.num_samples=3"])
    assert (named.evaluation.protocol.base, named.evaluation.protocol.num_samples) == ("paper", 3)
    assert named.evaluation.protocol.max_new_tokens == 32768


def test_a_recipes_protocol_gives_way_to_the_name_of_another_however_that_is_said(repository: Path) -> None:
    recipe = repository / "configs" / "deepscaler_1_5b_paper.yaml"
    name, change = "evaluation.protocol.base=nemo", "evaluation.protocol.num_samples=4"
    flag = standalone_config("model", "aime24", {"base": "nemo"}, recipe, [change])
    assert flag.evaluation.protocol.label == "nemo with num_samples=4"
    assert standalone_config("model", "aime24", {}, recipe, [name, change]) == flag
    assert standalone_config("model", "aime24", {}, recipe, [change, name]) == flag
    assert load_config(recipe, [change, name]).evaluation.protocol == flag.evaluation.protocol


def test_a_mistake_names_the_field() -> None:
    with pytest.raises(MistakeError, match=r"the evaluation of model:\n  rollout.engine: Input should be"):
        standalone_config("model", "aime24", {}, None, ["rollout.engine=x"])
