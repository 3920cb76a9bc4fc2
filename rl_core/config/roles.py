"""Rules of recipes in which several adapters lie on the same frozen weights: policy, value, reference, reward.

What a recipe without a shared backbone is checked for is in the sections themselves and in `recipe`.
"""

from typing import TYPE_CHECKING

from rl_core.config.models import LoraConfig

if TYPE_CHECKING:
    from rl_core.config.recipe import RecipeConfig

OF_AN_ADAPTER = ("rank", "alpha", "target_modules")


def roles_on_the_base(config: "RecipeConfig") -> list[str]:
    """The settings by which adapters other than one new one lie on the policy's frozen weights."""
    lora, critic = config.policy.lora, config.critic
    settings = []
    if lora is not None and lora.start == "adapter":
        settings.append("policy.lora.start: adapter")
    if critic is not None and critic.backbone == "shared":
        settings.append("critic.backbone: shared")
    if any(reward.shares_backbone for reward in config.rewards):
        settings.append("rewards: reward_model: backbone: shared")
    return settings


def first_lora(config: "RecipeConfig") -> LoraConfig | None:
    """Of the adapter that the first stage goes on with, as the recipe says it; None where it begins with a new one."""
    lora = config.policy.lora
    if lora is None or lora.start == "merged":
        return None
    if config.sft is not None:
        return config.sft.lora
    return lora if lora.folder is not None else None  # whose own settings are compared with these when it is looked at


def check_roles(config: "RecipeConfig") -> None:
    """Refuse what cannot be, or would do nothing; raises ValueError."""
    settings = roles_on_the_base(config)
    if settings:
        _check_layout(config, settings)
    _check_start(config)
    _check_value_adapter(config)
    _check_reward_adapter(config)


def _check_layout(config: "RecipeConfig", settings: list[str]) -> None:
    if config.policy.lora is None:
        raise ValueError(
            f"{settings[0]} needs weights that stay as they are: give policy.lora ({{}} takes the defaults)"
        )
    if config.training.zero_stage == 3:
        raise ValueError(
            f"training.zero_stage is 3 with {settings[0]}: ZeRO-3 splits a model's weights over the ranks for one "
            "engine, and here several use them; take 0, 1 or 2"
        )
    if len(config.stages) > 1 and config.policy.lora.start == "merged":
        raise ValueError(
            f"{settings[0]} with several stages: with policy.lora.start: merged each is on other weights than the one "
            "before, and an adapter that is kept would be on weights that it was not trained on; take start: adapter"
        )


def _check_start(config: "RecipeConfig") -> None:
    lora, sft = config.policy.lora, config.sft
    if lora is None or lora.start == "merged":
        return
    if sft is not None and lora.folder is not None:
        raise ValueError("policy.lora.folder does nothing with `sft`, whose adapter the first stage goes on with")
    if sft is not None and sft.lora is None:
        raise ValueError(
            "policy.lora.start is 'adapter' and sft.lora null: what sft trains is no adapter, with which the first "
            "stage could go on; give sft.lora, or take start: merged"
        )
    if len(config.stages) == 1 and first_lora(config) is None:
        raise ValueError(
            "policy.lora.start: adapter does nothing here: with one stage there is no adapter to go on with; give "
            "policy.lora.folder or `sft` with an adapter, or take start: merged"
        )
    _check_shape(lora, "policy.lora", first_lora(config), "sft.lora", "the first stage goes on with that adapter")


def _check_shape(own: LoraConfig, field: str, first: LoraConfig | None, first_field: str, reason: str) -> None:
    for name in OF_AN_ADAPTER if first is not None else ():
        if getattr(own, name) != getattr(first, name):
            raise ValueError(
                f"{field}.{name} is {getattr(own, name)} and {first_field}.{name} {getattr(first, name)}: {reason}, so "
                "that both are of one shape"
            )


def _check_value_adapter(config: "RecipeConfig") -> None:
    """The value model's adapter begins as a copy of the policy's first one, where there is one."""
    critic, lora = config.critic, config.policy.lora
    if critic is not None and critic.backbone == "own" and critic.model_name is None and lora and lora.folder:
        raise ValueError(
            "critic.model_name is null, the model that the policy starts from, and that has an adapter on it "
            "(policy.lora.folder), which a transformer of the critic's own would lack: name the merged model, or take "
            "backbone: shared"
        )
    if critic is None or critic.backbone != "shared" or first_lora(config) is None:
        return
    assert critic.lora is not None, "the section asks for it"
    reason = "with backbone: shared the value model begins as a copy of the policy's first adapter"
    _check_shape(critic.lora, "critic.lora", lora, "policy.lora", reason)


def _check_reward_adapter(config: "RecipeConfig") -> None:
    reward = config.learned_reward
    if reward is None:
        return
    if reward.trained_on == "base" and first_lora(config) is None:
        raise ValueError(
            "rewards: reward_model: trained_on: base does nothing where the policy does not begin with an adapter: the "
            "model that the first stage starts with is the base; remove it"
        )
    if reward.is_trained_here and reward.trained_on is not None:
        raise ValueError(
            "rewards: reward_model: trained_on does nothing with model: trained, which is known: remove it"
        )
    if reward.is_trained_here and reward.shares_backbone and config.reward_model and config.reward_model.lora is None:
        raise ValueError(
            "rewards: reward_model: backbone is 'shared' and reward_model.lora null: what is trained is no adapter; "
            "give reward_model.lora, or take backbone: own"
        )
