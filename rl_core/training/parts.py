"""What the training of a stage is made of: policy, critic, reference, sampler, and how micro-batches are laid out.

Where adapters of several roles lie on one base (`shared_base`), that is made first, and the parts are made over it.
"""

from rl_core.checkpoint.state import CRITIC_WEIGHTS, restore_weights
from rl_core.models.critic_source import critic_folder
from rl_core.models.load import attention_of, load_causal_lm
from rl_core.models.shared_base import SharedBase
from rl_core.models.token_values import TokenValues, ValueModel, load_token_values
from rl_core.rollout.choose import choose_engine
from rl_core.rollout.engine import RolloutEngine
from rl_core.rollout.start import start_engine
from rl_core.run_dir import RunDir
from rl_core.training.critic import Critic, HiddenStatesCritic
from rl_core.training.grouping import Layout
from rl_core.training.layout import choose_layout
from rl_core.training.learner import Learner
from rl_core.training.reference import AdapterOff, FrozenAdapter, FrozenCopy, ReferencePolicy
from rl_core.training.summary import read_summary
from rl_core.world import World


def make_learner(run: RunDir, index: int, world: World, base: SharedBase | None = None) -> Learner:
    """The policy that stage `index` starts from, under DeepSpeed. A collective call."""
    config = run.config
    return Learner(
        load_causal_lm(run.model_below(index), config.policy, world.device) if base is None else base.causal_lm,
        config.training,
        config.stages[index].optimizer,
        world,
        lora=config.policy.lora,
        base=base,
        value_head=config.critic is not None and config.critic.backbone == "policy_hidden",
    )


def make_critic(
    run: RunDir, index: int, learner: Learner, base: SharedBase | None = None
) -> Critic | HiddenStatesCritic | None:
    """The value model, where the recipe has one: a new head at first, then as the stage before left it.

    A collective call.
    """
    config = run.config.critic
    if config is None:
        return None
    critic: Critic | HiddenStatesCritic
    if config.backbone == "policy_hidden":
        critic = HiddenStatesCritic(learner)
    elif config.backbone == "shared":
        assert base is not None, "a shared backbone is made first"
        values = TokenValues(ValueModel(base.causal_lm))
        critic = Critic(values, run.config.training, config, learner.world, base=base)
    else:
        values = load_token_values(critic_folder(run), run.config.policy, learner.world.device, lora=config.lora)
        critic = Critic(values, run.config.training, config, learner.world)
    if index > 0:
        before = read_summary(run, index - 1)
        assert before is not None, "a stage is converted only once its training is finished"
        restore_weights(run.stage(index - 1).root / before["checkpoint"] / CRITIC_WEIGHTS, critic)
    return critic


def make_reference(run: RunDir, index: int, learner: Learner) -> ReferencePolicy | None:
    """The frozen first policy, where the stage's algorithm asks it. A collective call."""
    config = run.config
    if not config.stages[index].algorithm.needs_reference:
        return None
    if learner.base is not None:
        return FrozenAdapter(learner.base, learner)
    if config.policy.lora is not None:
        return AdapterOff(learner)
    causal_lm = load_causal_lm(run.first_policy(index), config.policy, learner.world.device)
    return FrozenCopy(causal_lm, config.training, learner.world)


def start_sampler(run: RunDir, index: int, world: World) -> RolloutEngine:
    """The engine that samples for stage `index`, beside the learner. With several ranks a collective call."""
    stage = run.config.stages[index]
    choice = choose_engine(stage.rollout)
    if world.is_first:
        print(f"stage {stage.name}: {choice}", flush=True)
    return start_engine(
        choice,
        run.model_below(index),
        run.config.policy,
        stage.rollout,
        context_tokens=stage.context_tokens,
        max_concurrent_sequences=stage.rollout.max_concurrent_sequences,
        beside_learner=True,
        world=world,
    )


def layout_of(run: RunDir, index: int, learner: Learner) -> Layout:
    """Of the stage's micro-batches. A collective call under ZeRO-3."""
    policy = learner.causal_lm
    layout = choose_layout(run.config.training, policy)
    if learner.world.is_first:
        name = run.config.stages[index].name
        print(f"stage {name}: updates with {attention_of(policy)} attention, in {layout}", flush=True)
    return layout
