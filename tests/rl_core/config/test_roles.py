"""What a recipe with several adapters on one base is refused for, and that recipes from before keep their digests."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rl_core.config import check_config, dump_config, load_config
from rl_core.config.rehearsal import rehearse
from rl_core.errors import MistakeError
from rl_core.run_dir import RunDir
from tests.rl_core.config.test_recipe import recipe, stage

PPO = {"baseline": "critic", "scale": "none"}
LORA = {"rank": 4, "alpha": 8}
SHARED = {"backbone": "shared", "lora": LORA}
REWARD = {"name": "reward_model", "kwargs": {"model": "rm", "backbone": "shared"}}
GOING_ON = {**LORA, "start": "adapter", "folder": "sft"}


def check(lora: Any = LORA, **sections: Any) -> Any:
    policy = {"model_name": "embedded", "lora": lora}
    return check_config(recipe(policy=policy, algorithm=PPO, **{"critic": SHARED, **sections}), origin="here")


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"lora": None}, r"critic\.backbone: shared needs weights that stay as they are: give policy\.lora"),
        ({"critic": {"backbone": "shared"}}, r"critic: backbone: shared trains an adapter: lora is needed"),
        ({"critic": {**SHARED, "model_name": "m"}}, r"critic: model_name does nothing with backbone: shared"),
        ({"critic": {"revision": "v1"}}, r"critic: revision does nothing without model_name: name the critic's model"),
        ({"critic": {"hub": "modelscope"}}, r"critic: hub does nothing without model_name: name the critic's model"),
        ({"critic": {"value_coefficient": 0.2}}, r"value_coefficient does nothing without backbone: policy_hidden"),
        ({"critic": {**SHARED, "backbone": "policy_hidden"}}, r"critic: lora does nothing with backbone: policy_hidd"),
        (
            {"critic": {"backbone": "policy_hidden", "optimizer": {"learning_rate": 1.0}}},
            r"critic: optimizer does nothing with backbone: policy_hidden",
        ),
        (
            {"critic": {"backbone": "policy_hidden", "warmup_steps": 1}},
            r"warmup_steps: the critic cannot learn alone with backbone: policy_hidden",
        ),
        (
            {"training": {"zero_stage": 3}},
            r"training\.zero_stage is 3 with critic\.backbone: shared: .* take 0, 1 or 2",
        ),
        (
            {"lora": None, "critic": {}, "rewards": [REWARD]},
            r"rewards: reward_model: backbone: shared needs weights that stay",
        ),
        (
            {"stages": [stage(), stage(name="b")]},
            r"critic\.backbone: shared with several stages: .* take start: adapter",
        ),
        ({"lora": {**LORA, "folder": "sft"}}, r"policy\.lora: folder does nothing with start: merged"),
        ({"lora": {**LORA, "start": "adapter"}}, r"policy\.lora\.start: adapter does nothing here: with one stage"),
        (
            {"lora": {**GOING_ON, "rank": 8}},
            r"critic\.lora\.rank is 4 and policy\.lora\.rank 8: .* begins as a copy of the policy's first adapter",
        ),
        (
            {"lora": GOING_ON, "critic": {}},
            r"critic\.model_name is null, .* name the merged model, or take backbone: sh",
        ),
        (
            {"rewards": [{**REWARD, "kwargs": {**REWARD["kwargs"], "trained_on": "base"}}]},  # type: ignore[dict-item]
            r"trained_on: base does nothing where the policy does not begin with an adapter",
        ),
        (
            {"rewards": [{"name": "reward_model", "kwargs": {"model": "rm", "trained_on": "base"}}]},
            r"kwargs\.trained_on does nothing without kwargs\.backbone: shared",
        ),
    ],
)
def test_what_cannot_be_or_does_nothing_is_refused_with_its_reason(sections: dict[str, Any], told: str) -> None:
    with pytest.raises(MistakeError, match=told):
        check(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"critic": {"backbone": "policy_hidden", "value_coefficient": 0.3}},
        {"critic": {"backbone": "policy_hidden"}, "lora": None, "training": {"zero_stage": 3}},
        {"lora": GOING_ON},
        {"lora": GOING_ON, "rewards": [{**REWARD, "kwargs": {**REWARD["kwargs"], "trained_on": "base"}}]},  # type: ignore[dict-item]
        {"lora": {**LORA, "start": "adapter"}, "stages": [stage(), stage(name="b")], "rewards": [REWARD]},
    ],
)
def test_what_can_be_is_written_and_read_back_and_rehearsed(sections: dict[str, Any]) -> None:
    config = check(**sections)
    assert check_config(yaml.safe_load(dump_config(config)), origin="here") == config
    scaled = rehearse(config).config
    assert scaled.critic is not None
    assert scaled.critic.backbone == config.critic.backbone


def test_a_recipe_without_these_settings_is_written_and_known_as_before(tmp_path: Path) -> None:
    config = check(critic={})
    written = yaml.safe_load(dump_config(config))
    assert not {"backbone", "value_coefficient", "revision", "hub"} & written["critic"].keys()
    assert written["policy"]["lora"].keys() == {"rank", "alpha", "target_modules"}
    # The keys of the adapter's preset and of PPO's, as they were before there were such settings.
    for name, key in (("grpo_lora_qwen3_4b", "e8becdc22aeacf5d"), ("ppo_qwen2_5_7b", "8aa71afb4eaaf949")):
        preset = Path(__file__).resolve().parents[3] / "configs" / f"{name}.yaml"
        run = RunDir(tmp_path, load_config(preset, ["data.system_prompt=null"]))  # which is named since
        assert run.keys.stage(0) == key


def test_another_adapter_in_the_folder_is_another_stage(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    folder.mkdir()
    run = RunDir(tmp_path, check(lora={**GOING_ON, "folder": str(folder)}))
    keys = set()
    for content in ("a", "b"):
        (folder / "adapter_model.safetensors").write_text(content)
        keys.add(run.keys.stage(0))
    assert len(keys) == 2


def test_stages_that_go_on_with_an_adapter_load_the_model_below_it(tmp_path: Path) -> None:
    stages = [stage(), stage(name="b")]
    run = RunDir(tmp_path, check(lora={**LORA, "start": "adapter"}, stages=stages))
    assert [run.model_below(index) for index in (0, 1)] == [run.base, run.base]
    assert [run.first_policy(index) for index in (0, 1)] == [run.base, run.stage(0).hf]
    assert [run.first_adapter(index) for index in (0, 1)] == [None, run.stage(0).hf / "adapter"]
    run = RunDir(tmp_path, check(lora=GOING_ON, stages=stages))
    assert [run.first_adapter(index) for index in (0, 1)] == [Path("sft"), run.stage(0).hf / "adapter"]
    run = RunDir(tmp_path, check(stages=stages, critic={}))
    assert [run.model_below(index) for index in (0, 1)] == [run.base, run.stage(0).hf]
    assert run.first_adapter(1) is None
    sft = {"data": {"source": "embedded"}, "lora": LORA, "max_tokens": 96}
    run = RunDir(tmp_path, check(lora={**LORA, "start": "adapter"}, sft=sft))
    assert (run.model_below(0), run.first_policy(0)) == (run.base, run.stage("sft").hf)
    assert run.first_adapter(0) == run.stage("sft").hf / "adapter"
    assert run.model_below("sft") == run.base


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"lora": GOING_ON, "sft": LORA}, r"policy\.lora\.folder does nothing with `sft`"),
        ({"lora": {**LORA, "start": "adapter"}, "sft": None}, r"sft\.lora null: what sft trains is no adapter"),
        (
            {"lora": {**LORA, "alpha": 4, "start": "adapter"}, "sft": LORA},
            r"policy\.lora\.alpha is 4\.0 and sft\.lora\.alpha 8\.0: the first stage goes on with that adapter",
        ),
    ],
)
def test_an_adapter_of_sft_is_gone_on_with_or_refused(sections: dict[str, Any], told: str) -> None:
    sft = {"data": {"source": "embedded"}, "lora": sections.pop("sft")}
    with pytest.raises(MistakeError, match=told):
        check(sft=sft, **sections)
