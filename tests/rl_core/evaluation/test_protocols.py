"""Protocols by name, with changes, and whole; and what of them an evaluation is named after."""

from pathlib import Path
from typing import Any, get_args

import pytest

from rl_core.config import check_config, load_config
from rl_core.config.data import PromptConfig
from rl_core.config.evaluation import ProtocolConfig, ProtocolName
from rl_core.config.form import form_values
from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.errors import MistakeError
from rl_core.evaluation.protocols import PROTOCOLS
from rl_core.manifest import digest_of

TRAINED = PromptConfig(prompt_template="Q: {problem}", system_prompt="Be brief.")
# What evaluations of the presets have been named by since they exist.
DIGESTS = {
    "embedded": "ba1b9102c5b9c659",
    "deepscaler_1_5b_nemo": "0a97f7d93890090b",
    "deepscaler_1_5b_paper": "fe760f8df70d4ed5",
    "ppo_qwen2_5_7b": "1c1f13832db9d6b0",
    "cpgd_qwen2_5_7b": "1c1f13832db9d6b0",
    "grpo_lora_qwen3_4b": "df359ecafa941c8f",
}
OF_PRESETS = {"paper": "deepscaler_1_5b_paper", "nemo": "deepscaler_1_5b_nemo", "siirl": "ppo_qwen2_5_7b"}


def test_every_name_has_its_protocol() -> None:
    assert tuple(PROTOCOLS) == get_args(ProtocolName)


@pytest.mark.parametrize("preset", DIGESTS)
def test_evaluations_keep_the_names_that_they_have(preset: str, repository: Any) -> None:
    then = ["data.system_prompt=null"]  # which two presets have named since
    config = load_config(repository / "configs" / f"{preset}.yaml", then)
    assert digest_of(config.evaluation.protocol.identity(config.data)) == DIGESTS[preset]


@pytest.mark.parametrize("name", OF_PRESETS)
def test_a_protocol_by_name_is_that_of_the_preset_from_the_same_source(name: str) -> None:
    # Whatever the model was trained on: these bring their own prompts.
    assert digest_of(ProtocolConfig.model_validate(name).identity(TRAINED)) == DIGESTS[OF_PRESETS[name]]


def test_a_name_with_changes_differs_in_these_alone() -> None:
    paper, changed = (
        ProtocolConfig.model_validate("paper"),
        ProtocolConfig.model_validate({"base": "paper", "top_p": 1}),
    )
    before, after = paper.identity(TRAINED), changed.identity(TRAINED)
    assert {name for name in before if before[name] != after[name]} == {"top_p"}
    assert before["max_new_tokens"] == 32768


def test_a_protocol_without_a_prompt_asks_as_the_model_was_trained() -> None:
    asked = ProtocolConfig.model_validate("sft_rm_ppo").asked_with(TRAINED)
    assert asked == TRAINED
    own = ProtocolConfig.model_validate("paper").asked_with(TRAINED)
    assert own.prompt_template.endswith("\\boxed{}.")
    assert own.system_prompt is None


def test_a_resolved_protocol_reads_back_as_itself() -> None:
    protocol = ProtocolConfig.model_validate({"base": "nemo", "prompt_template": None, "num_samples": 3})
    assert ProtocolConfig.model_validate(protocol.model_dump(mode="json")) == protocol
    assert protocol.prompt_template is None


def test_a_protocol_is_called_by_its_base_alone_only_where_it_is_the_same(repository: Path) -> None:
    assert ProtocolConfig().label is None
    assert ProtocolConfig.model_validate("nemo").label == "nemo"
    values = form_values(load_config(repository / "configs" / "deepscaler_1_5b_paper.yaml"))
    values["evaluation"]["protocol"]["base"] = "nemo"
    chosen = check_config(values, origin="the form").evaluation.protocol
    assert chosen.label == "nemo with temperature=0.6, top_p=0.95, seed=0, verifier=deepscaler, another prompt_template"
    pass_title = ReevaluationConfig(benchmark="aime24", protocol=chosen).title
    assert pass_title == f"aime24, protocol {chosen.label}"


def test_an_override_can_change_a_protocol_that_is_written_by_name() -> None:
    config = load_config(None, ["evaluation.protocol=paper", "evaluation.protocol.num_samples=4"])
    assert (config.evaluation.protocol.base, config.evaluation.protocol.num_samples) == ("paper", 4)
    assert config.evaluation.protocol.max_new_tokens == 32768


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("protocol=papr", "evaluation.protocol.base: Input should be 'paper', 'nemo', 'siirl' or 'sft_rm_ppo'"),
        (
            "protocol.system_prompt=x",
            "system_prompt does nothing without the protocol's own prompt_template: give both",
        ),
        ("protocol.second_verifier=boxed", "second_verifier is 'boxed', as the first: it would say the same"),
        ("protocol.prompt_template=hello", "evaluation.protocol.prompt_template: must hold {problem} exactly once"),
        ("benchmark=aime42", "evaluation: benchmark: 'aime42' is not known: aime24, aime25, math500, amc, minerva"),
        ("further_benchmarks=[some/folder]", "'some/folder' is no file that can be read (can be: .json, .jsonl"),
        ("further_benchmarks=[aime24, a/aime24.json]", "further_benchmarks: aime24 is there twice"),
    ],
)
def test_a_mistake_names_the_field_and_what_is_allowed(override: str, message: str) -> None:
    with pytest.raises(MistakeError) as mistake:
        load_config(None, [f"evaluation.{override}"])
    assert message in str(mistake.value)
