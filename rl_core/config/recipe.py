"""The whole recipe: its sections, and the rules between them."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rl_core.config.algorithm import AlgorithmConfig
from rl_core.config.data import DataConfig
from rl_core.config.embedded import EmbeddedConfig
from rl_core.config.evaluation import EvaluationConfig, ValidationConfig
from rl_core.config.models import CriticConfig, OptimizerConfig, PolicyConfig
from rl_core.config.pairs import PairsConfig
from rl_core.config.publishing import PublishConfig
from rl_core.config.rehearses import RehearsesConfig
from rl_core.config.report import ReportConfig
from rl_core.config.reward_model import RewardModelConfig
from rl_core.config.rewards import RewardConfig
from rl_core.config.roles import check_roles
from rl_core.config.rollout import RolloutConfig
from rl_core.config.section import Section
from rl_core.config.sft import SftConfig
from rl_core.config.stage import StageConfig
from rl_core.config.tracking import TrackingConfig
from rl_core.config.training import CheckpointConfig, GuardConfig, TrainingConfig

INHERITED_BY_STAGES = ("rollout", "algorithm", "optimizer")
SFT: Literal["sft"] = "sft"
StageIndex = int | Literal["sft"]
"""A part that trains a policy: a stage of the recipe, 0 the first, or what goes before them."""
BEFORE_THE_STAGES = ("sft", "pairs", "reward_model")  # parts that a recipe has where it has their section


class RecipeConfig(Section):
    """Everything that decides what a run does. The same model is the form of the Prefect deployment."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", description="names the run, and its folder under runs/"
    )
    seed: int = Field(0, ge=0)
    data: DataConfig
    embedded: EmbeddedConfig | None = Field(None, description="null unless the run makes its own task or model")
    policy: PolicyConfig
    sft: SftConfig | None = Field(None, description="fine-tune on given answers first; null: stages start at the base")
    pairs: PairsConfig | None = Field(None, description="preference pairs, for `reward_model`; null: none are made")
    reward_model: RewardModelConfig | None = Field(
        None, description="train one on the pairs, for a reward_model with kwargs.model: trained; null: none"
    )
    rewards: tuple[RewardConfig, ...] = Field((RewardConfig(name="boxed"),), min_length=1)
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    algorithm: AlgorithmConfig = Field(default_factory=AlgorithmConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    critic: CriticConfig | None = Field(None, description="of algorithm.baseline: critic; null: no value model")
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    guard: GuardConfig = Field(default_factory=GuardConfig)
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
    publish: PublishConfig | None = Field(None, description="null: the model stays on this machine")
    report: ReportConfig = Field(default_factory=ReportConfig)
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    rehearses: RehearsesConfig | None = Field(None, description="set by --rehearse, and not by hand")

    @property
    def learned_reward(self) -> RewardConfig | None:
        """The learned reward model among the rewards, if there is one."""
        return next((reward for reward in self.rewards if reward.is_reward_model), None)

    def stage_before(self, index: StageIndex) -> StageIndex | None:
        """The one whose model `index` starts from; None: the base model."""
        if index == SFT:
            return None
        return index - 1 if index else SFT if self.sft else None

    @model_validator(mode="before")
    @classmethod
    def _stages_inherit(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("stages"), (list, tuple)):
            return values
        stages = [
            {**stage, **_inherited(values, stage)} if isinstance(stage, dict) else stage for stage in values["stages"]
        ]
        return {**values, "stages": stages}

    @model_validator(mode="after")
    def _stage_names_differ(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: two stages share a name: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _published_stage_is_one(self) -> Self:
        names = [stage.name for stage in self.stages]
        if self.publish is not None and self.publish.stage not in (None, *names):
            raise ValueError(f"publish.stage is {self.publish.stage!r}: no such stage; there are {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _critic_is_described(self) -> Self:
        asked = [index for index, stage in enumerate(self.stages) if stage.algorithm.baseline == "critic"]
        if asked and self.critic is None:
            raise ValueError(
                f"stages.{asked[0]}.algorithm.baseline is 'critic': the section `critic` is needed ({{}} takes the "
                "defaults)"
            )
        if self.critic is not None and len(asked) < len(self.stages):
            raise ValueError("`critic` is given, but not every stage has algorithm.baseline: critic")
        return self

    @model_validator(mode="after")
    def _policy_learns_behind_the_critics_warm_up(self) -> Self:
        if self.critic is not None and self.critic.warmup_steps >= self.stages[0].steps:
            raise ValueError(
                f"critic.warmup_steps is {self.critic.warmup_steps}, and stage {self.stages[0].name} has "
                f"{self.stages[0].steps} steps: the policy would not learn in it; take fewer"
            )
        return self

    @model_validator(mode="after")
    def _divergence_is_used(self) -> Self:
        algorithms = [stage.algorithm for stage in self.stages]
        if any(algorithm.needs_reference for algorithm in algorithms):
            return self
        for name in ("kl_in", "kl_estimator"):
            if any(algorithm.is_set(name) for algorithm in algorithms):
                raise ValueError(f"algorithm.{name} does nothing: algorithm.kl_coefficient is 0 in every stage")
        return self

    @model_validator(mode="after")
    def _overlong_buffers_are_within_the_limits(self) -> Self:
        for index, reward in enumerate(self.rewards):
            if reward.overlong_buffer_tokens is None:
                continue
            for stage in self.stages:
                if not 1 <= reward.overlong_buffer_tokens <= stage.shortest_limit_tokens:
                    raise ValueError(
                        f"rewards.{index}.kwargs.buffer_tokens is {reward.overlong_buffer_tokens}: overlong_penalty "
                        f"needs at least 1, and at most what stage {stage.name} leaves to a response behind its "
                        f"longest prompt, {stage.shortest_limit_tokens} tokens"
                    )
        return self

    @model_validator(mode="after")
    def _adapters_share_a_base(self) -> Self:
        check_roles(self)
        return self

    @model_validator(mode="after")
    def _reward_model_is_made_and_used(self) -> Self:
        learned = self.learned_reward
        asked = learned is not None and learned.is_trained_here
        if asked and self.reward_model is None:
            raise ValueError(
                "rewards: reward_model has kwargs.model: trained: the section `reward_model` is needed ({} takes the "
                "defaults)"
            )
        if self.reward_model is not None and not asked:
            raise ValueError(
                "`reward_model` is given, but no reward uses it: add {name: reward_model, kwargs: {model: trained}} to "
                "`rewards`, or remove it"
            )
        if self.reward_model is not None and self.pairs is None:
            raise ValueError("`reward_model` learns from pairs: the section `pairs` is needed ({} takes the defaults)")
        if self.pairs is not None and self.reward_model is None:
            raise ValueError("`pairs` is given, but nothing learns from it: add `reward_model`, or remove it")
        return self

    @model_validator(mode="after")
    def _sft_has_its_name_alone(self) -> Self:
        if self.sft is not None and any(stage.name == "sft" for stage in self.stages):
            raise ValueError("stages: one is named sft, as the part that `sft` adds is: give it another name")
        return self

    @model_validator(mode="after")
    def _embedded_is_described(self) -> Self:
        traces = None if self.sft is None else self.sft.data.source
        used = "embedded" in (self.policy.model_name, self.data.train.source, self.data.test.source, traces)
        if used and self.embedded is None:
            raise ValueError("policy or data is `embedded`: the section `embedded` is needed ({} takes the defaults)")
        if not used and self.embedded is not None:
            raise ValueError("`embedded` is given, but neither policy nor data uses it: remove it")
        return self

    @model_validator(mode="after")
    def _stages_fit_the_embedded_model(self) -> Self:
        if self.policy.model_name == "embedded" and self.embedded is not None:
            for index, stage in enumerate(self.stages):
                if stage.context_tokens > self.embedded.context_tokens:
                    raise ValueError(
                        f"stages.{index}: {stage.context_tokens} tokens of prompt and response, but the model's "
                        f"context is {self.embedded.context_tokens} (embedded.context_tokens)"
                    )
            if self.sft is not None and self.sft.max_tokens > self.embedded.context_tokens:
                raise ValueError(
                    f"sft.max_tokens is {self.sft.max_tokens}, but the model's context is "
                    f"{self.embedded.context_tokens} (embedded.context_tokens)"
                )
        return self


def _inherited(recipe: dict[str, Any], stage: dict[str, Any]) -> dict[str, Any]:
    """A stage's shared sections with what it leaves out; what is no section is not among them, and is refused."""
    shared = {name: recipe.get(name, {}) for name in INHERITED_BY_STAGES}
    own = {name: stage.get(name) or {} for name in INHERITED_BY_STAGES}
    return {
        name: {**shared[name], **own[name]}
        for name in INHERITED_BY_STAGES
        if isinstance(shared[name], dict) and isinstance(own[name], dict)
    }
