"""The adapters of a stage on one base: which there are, and what each begins as."""

from pathlib import Path

import torch
from transformers import AutoTokenizer

from rl_core.config.models import PolicyLoraConfig
from rl_core.config.rewards import RewardConfig
from rl_core.config.roles import roles_on_the_base
from rl_core.errors import MistakeError
from rl_core.models.adapter_files import Adapter, read_adapter, stacked
from rl_core.models.adapter_settings import require_head, require_shape
from rl_core.models.load import load_causal_lm
from rl_core.models.reward_model import SharedRewardModel
from rl_core.models.reward_source import FIELD as REWARD_FIELD
from rl_core.models.reward_source import local_rewards
from rl_core.models.shared_base import SharedBase
from rl_core.run_dir import RunDir
from rl_core.world import World

POLICY_FIELD, VALUE_FIELD = "policy.lora", "critic.lora"


def make_shared_base(run: RunDir, index: int, world: World) -> SharedBase | None:
    """The base of stage `index` with an adapter for each role, on its device; None where one role has it for itself.

    Raises:
        MistakeError: an adapter in a folder is not one of this model.
    """
    config = run.config
    if not roles_on_the_base(config):
        return None
    lora, critic = config.policy.lora, config.critic
    assert lora is not None, "the schema asks for it"
    base = SharedBase(load_causal_lm(run.model_below(index), config.policy, world.device))
    first = _first_tensors(run, index, lora)
    base.add("policy", lora, first, field=POLICY_FIELD)
    if critic is not None and critic.backbone == "shared":
        assert critic.lora is not None, "the schema asks for it"
        # Of the stages behind the first, the value adapter is the one that the stage before left: see `parts`.
        base.add("value", critic.lora, first if index == 0 else None, field=VALUE_FIELD)
    if first is not None and config.stages[index].algorithm.needs_reference:
        base.add("reference", lora, first, field=POLICY_FIELD)
    judge = _shared_reward(run)
    if judge is not None:
        adapter = _reward_adapter(run, judge)
        base.add("reward", adapter.lora, adapter.tensors, field=REWARD_FIELD)
    base.settle(world.device)
    return base


def make_judge(run: RunDir, index: int, base: SharedBase | None) -> SharedRewardModel | None:
    """The reward model that is an adapter and a head on the base; None where there is none."""
    reward = _shared_reward(run)
    if reward is None or base is None:
        return None
    folder = Path(reward.kwargs["model"]).expanduser()
    own = (folder / "tokenizer_config.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(folder if own else run.model_below(index))
    head = read_adapter(folder, REWARD_FIELD).head
    assert head is not None, "an adapter without one was refused with the base"
    judge, limit = SharedRewardModel(base, head, tokenizer), reward.kwargs.get("max_tokens")
    if limit and judge.context_tokens and limit > judge.context_tokens:
        raise MistakeError(
            f"rewards: reward_model: max_tokens is {limit}, but the context of the model below is "
            f"{judge.context_tokens} (max_position_embeddings): at most that"
        )
    return judge


def _first_tensors(run: RunDir, index: int, lora: PolicyLoraConfig) -> dict[str, torch.Tensor] | None:
    """Of the adapter that the stage goes on with."""
    folder = run.first_adapter(index)
    if folder is None:
        return None
    adapter = read_adapter(folder, f"{POLICY_FIELD}.folder")
    require_shape(adapter.lora, lora, POLICY_FIELD, folder)
    return adapter.tensors


def _shared_reward(run: RunDir) -> RewardConfig | None:
    return next((reward for reward in local_rewards(run) if reward.shares_backbone), None)


def _reward_adapter(run: RunDir, reward: RewardConfig) -> Adapter:
    """The reward model's adapter, on the base of every stage.

    It was trained on the model that the first stage starts with. Where that is the base with an adapter, the two are
    made one, which stays the same while the policy moves on.
    """
    folder = Path(reward.kwargs["model"]).expanduser()
    require_head(folder, REWARD_FIELD)
    adapter = read_adapter(folder, REWARD_FIELD)
    below = run.first_adapter(0)
    if below is None or reward.trained_on == "base":
        return adapter
    return stacked(read_adapter(below, f"{POLICY_FIELD}.folder"), adapter)
