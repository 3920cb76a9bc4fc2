"""Which adapters a stage of a recipe lies on its base, and what each begins as, from the folders that it names."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen2ForCausalLM

from rl_core.config import check_config, load_config
from rl_core.embedded.tokenizer import build_tokenizer
from rl_core.errors import MistakeError
from rl_core.models.adapter_files import stacked
from rl_core.models.lora import write_adapter
from rl_core.models.reward_model import RewardModel
from rl_core.rewards import Scorer
from rl_core.run_dir import RunDir
from rl_core.training.critic import Critic
from rl_core.training.parts import make_critic, make_learner, make_reference
from rl_core.training.reference import FrozenAdapter
from rl_core.training.roles import make_judge, make_shared_base
from rl_core.world import World
from tests.rl_core.tiny import tiny_qwen2
from tests.rl_core.training.shared_roles import FIRST, LORA, REWARD, drawn_adapter, merged_classifier

ROUNDING = 1e-4
CONVERSATIONS = [[{"role": "user", "content": "1+1"}, {"role": "assistant", "content": text}] for text in ("2", "a b")]


def base_model() -> Qwen2ForCausalLM:
    return tiny_qwen2(vocabulary=len(build_tokenizer()), hidden_size=21)


def run_of(folder: Path, *, start: str = "adapter", critic: dict[str, Any] | None = None, **reward: Any) -> RunDir:
    """A run whose base is there, of a recipe with the adapters of `sft` and `rm`."""
    lora = {"rank": LORA.rank, "alpha": LORA.alpha}
    policy = {**lora, "start": start, **({"folder": str(folder / "sft")} if start == "adapter" else {})}
    values = load_config(overrides=["critic={}", "algorithm.baseline=critic", "algorithm.scale=none"]).model_dump()
    values["policy"]["lora"] = policy
    values["critic"] = critic or {"backbone": "shared", "lora": lora}
    kwargs = {"model": str(folder / "rm"), "backbone": "shared", **reward}
    values["rewards"] = [{"name": "reward_model", "kwargs": kwargs}]
    stage = {**values["stages"][0], "steps": 1}
    stage["algorithm"] = {**stage["algorithm"], "kl_coefficient": 0.1}
    values["stages"] = [stage]
    run = RunDir(folder / "run", check_config(json.loads(json.dumps(values)), origin="here"))
    if not run.base.exists():
        base_model().save_pretrained(run.base)
        build_tokenizer().save_pretrained(run.base)
        for name, adapter in (("sft", FIRST), ("rm", REWARD)):
            (folder / name).mkdir()
            write_adapter(folder / name, adapter.tensors, adapter.lora)
        assert REWARD.head is not None
        save_file({"score.weight": REWARD.head}, folder / "rm" / "score.safetensors")
    return run


def scores_of_model(folder: Path, below: bool) -> list[float]:
    """What the merged reward model itself says, with the first adapter below its own or without it."""
    adapter = stacked(FIRST, REWARD) if below else REWARD
    merged_classifier(adapter, base_model()).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    judge = RewardModel(folder)
    return judge.scores([judge.tokens(conversation) for conversation in CONVERSATIONS], 1000)


def test_every_role_begins_as_the_recipe_says(world: World, tmp_path: Path) -> None:
    run = run_of(tmp_path)
    base = make_shared_base(run, 0, world)
    assert base is not None
    for role in ("policy", "value", "reference"):
        for name, module in base.adapter(role).items():  # type: ignore[arg-type]
            assert torch.equal(module.weight, FIRST.tensors[f"{name}.weight"])
    learner = make_learner(run, 0, world, base)
    critic = make_critic(run, 0, learner, base)
    assert isinstance(critic, Critic)
    assert len(dict(critic.named_parameters())) == 28 + 2
    assert isinstance(make_reference(run, 0, learner), FrozenAdapter)
    judge = make_judge(run, 0, base)
    assert judge is not None
    expected = scores_of_model(tmp_path / "merged", below=True)
    assert judge.scores([judge.tokens(conversation) for conversation in CONVERSATIONS], 1000) == pytest.approx(
        expected, abs=ROUNDING
    )
    (score,) = Scorer(run.config.rewards, judge).score(["2"], ["2"], [False], messages=[CONVERSATIONS[0][:1]])
    assert score.reward == pytest.approx(expected[0], abs=ROUNDING)


def test_a_reward_adapter_of_the_base_itself_is_put_on_it_alone(world: World, tmp_path: Path) -> None:
    run = run_of(tmp_path, trained_on="base")
    judge = make_judge(run, 0, make_shared_base(run, 0, world))
    assert judge is not None
    told = judge.scores([judge.tokens(conversation) for conversation in CONVERSATIONS], 1000)
    assert told == pytest.approx(scores_of_model(tmp_path / "merged", below=False), abs=ROUNDING)
    assert told != pytest.approx(scores_of_model(tmp_path / "both", below=True), abs=ROUNDING)


def test_without_an_adapter_to_go_on_with_all_begin_as_the_base_and_the_reference_is_it(
    world: World, tmp_path: Path
) -> None:
    run = run_of(tmp_path, start="merged")
    base = make_shared_base(run, 0, world)
    assert base is not None
    assert [base.has(role) for role in ("policy", "value", "reference", "reward")] == [True, True, False, True]
    for role in ("policy", "value"):
        halves = base.adapter(role).items()  # type: ignore[arg-type]
        assert all(bool(module.weight.any()) == name.endswith("lora_A") for name, module in halves)


def test_a_head_on_the_policys_hidden_states_needs_no_adapter_of_its_own(world: World, tmp_path: Path) -> None:
    run = run_of(tmp_path, critic={"backbone": "policy_hidden"})
    base = make_shared_base(run, 0, world)
    assert base is not None
    assert not base.has("value")
    learner = make_learner(run, 0, world, base)
    critic = make_critic(run, 0, learner, base)
    assert critic is not None
    assert [name for name, _ in critic.named_parameters()] == ["score.weight", "score.bias"]


def test_adapters_that_are_not_of_this_model_are_refused(world: World, tmp_path: Path) -> None:
    run = run_of(tmp_path)
    tensors = {name: tensor for name, tensor in FIRST.tensors.items() if "layers.1.mlp.up_proj" not in name}
    write_adapter(tmp_path / "sft", tensors, FIRST.lora)
    with pytest.raises(
        MistakeError, match=r"the adapter that the policy begins with lacks model\.layers\.1\.mlp\.up_pr"
    ):
        make_shared_base(run, 0, world)
    wide = {
        name: torch.cat([tensor, tensor], -1) if "lora_A" in name else tensor for name, tensor in FIRST.tensors.items()
    }
    write_adapter(tmp_path / "sft", wide, FIRST.lora)
    with pytest.raises(MistakeError, match=r"begins with has .*lora_A\.weight of shape .*, and the model's is"):
        make_shared_base(run, 0, world)
    write_adapter(tmp_path / "sft", FIRST.tensors, FIRST.lora)
    other = drawn_adapter(LORA.model_copy(update={"rank": 4}), 5)
    write_adapter(tmp_path / "sft", other.tensors, other.lora)
    with pytest.raises(MistakeError, match=r"policy\.lora\.rank is 3, and the adapter in .* has 4: take that"):
        make_shared_base(run, 0, world)


def test_a_limit_beyond_the_models_context_is_refused(world: World, tmp_path: Path) -> None:
    run = run_of(tmp_path, max_tokens=4096)
    with pytest.raises(MistakeError, match="max_tokens is 4096, but the context of the model below is 128"):
        make_judge(run, 0, make_shared_base(run, 0, world))
