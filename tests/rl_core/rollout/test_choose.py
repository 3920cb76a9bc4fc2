import importlib.util

import pytest

from rl_core.config import RolloutConfig, load_config
from rl_core.config.rollout import VllmConfig
from rl_core.errors import MistakeError
from rl_core.rollout.choose import check_engines, choose_engine


@pytest.fixture
def without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm" else found(name))


def test_auto_takes_vllm_where_it_is_installed_and_says_so() -> None:
    choice = choose_engine(RolloutConfig())
    assert str(choice) == f"rollouts by vllm {choice.version} (rollout.engine is auto, and it is installed)"
    assert choice.version[0].isdigit()


@pytest.mark.usefixtures("without_vllm")
def test_auto_takes_transformers_elsewhere_and_says_so() -> None:
    choice = choose_engine(RolloutConfig())
    assert choice.engine == "transformers"
    assert str(choice).endswith("(rollout.engine is auto, and vLLM is not installed)")


@pytest.mark.usefixtures("without_vllm")
def test_vllm_that_is_not_installed_is_refused_with_what_to_do() -> None:
    with pytest.raises(MistakeError, match=r"rollout.engine is 'vllm': vLLM is not installed here.*pip install"):
        choose_engine(RolloutConfig(engine="vllm"))


def test_settings_of_vllm_are_refused_where_another_engine_was_asked_for() -> None:
    with pytest.raises(MistakeError, match=r"rollout.vllm has settings and rollout.engine is 'transformers'"):
        choose_engine(RolloutConfig(engine="transformers", vllm=VllmConfig(tensor_parallel_size=2)))
    assert choose_engine(RolloutConfig(engine="transformers")).engine == "transformers"


def test_a_sampler_split_over_devices_needs_as_many_processes_in_every_stage() -> None:
    config = load_config(overrides=["stages.1.rollout.engine=vllm", "stages.1.rollout.vllm.tensor_parallel_size=2"])
    check_engines(config, 4)
    with pytest.raises(MistakeError, match=r"stages.1.rollout.vllm.tensor_parallel_size is 2: it must divide .*\(3,"):
        check_engines(config, 3)
