"""Rules of recipes in which several adapters lie on the same frozen weights: policy, value, reference, reward.

What a recipe without a shared backbone is checked for is in the sections themselves and in `recipe`.
"""

from typing import TYPE_CHECKING

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


def begins_with_an_adapter(config: "RecipeConfig") -> bool:
    """Whether the first stage's adapter is one that was trained before."""
    return config.policy.lora is not None and config.policy.lora.folder is not None


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
    lora = config.policy.lora
    if lora is None or lora.start == "merged":
        return
    if len(config.stages) == 1 and not begins_with_an_adapter(config):
        raise ValueError(
            "policy.lora.start: adapter does nothing here: with one stage there is no adapter to go on with; give "
            "policy.lora.folder, or take start: merged"
        )


def _check_value_adapter(config: "RecipeConfig") -> None:
    """The value model's adapter begins as a copy of the policy's first one, where there is one."""
    critic, lora = config.critic, config.policy.lora
    if critic is None or critic.backbone != "shared" or lora is None or not begins_with_an_adapter(config):
        return
    assert critic.lora is not None, "the section asks for it"
    for name in OF_AN_ADAPTER:
        own, policys = getattr(critic.lora, name), getattr(lora, name)
        if own != policys:
            raise ValueError(
                f"critic.lora.{name} is {own} and policy.lora.{name} {policys}: with backbone: shared the value model "
                "begins as a copy of the policy's first adapter, so that both are of one shape"
            )


def _check_reward_adapter(config: "RecipeConfig") -> None:
    for reward in config.rewards:
        if reward.is_reward_model and reward.trained_on == "base" and not begins_with_an_adapter(config):
            raise ValueError(
                "rewards: reward_model: trained_on: base does nothing where the policy does not begin with an adapter: "
                "the model that the first stage starts with is the base; remove it"
            )
