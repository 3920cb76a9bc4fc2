"""The models that are trained, and their optimizer."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from rl_core.config.section import GrownSection, Section
from rl_core.manifest import sampled_digest


class LoraConfig(Section):
    """A low-rank adapter, which is trained in place of the model's own weights (Hu et al. 2021, arXiv 2106.09685).

    It has no dropout: the ratio of the loss compares one policy at two times, and the sampler knows of none.
    """

    rank: int = Field(16, ge=1, le=512)
    alpha: float = Field(32, gt=0, description="the adapter's part is scaled by alpha / rank")
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "all-linear", description="names of linear layers, as q_proj; all-linear: every one but the output head"
    )


class PolicyLoraConfig(LoraConfig, GrownSection):
    """The adapter of the policy, and what each stage's begins as."""

    LATER: ClassVar[frozenset[str]] = frozenset(("start", "folder"))

    start: Literal["merged", "adapter"] = Field(
        "merged",
        description="merged: each stage puts a new adapter on the model that the one before was merged into; adapter: "
        "it goes on with that adapter, on the model below it",
    )
    folder: str | None = Field(
        None, description="start: adapter: folder of the adapter (as peft writes it) that the first stage goes on with"
    )

    @model_validator(mode="after")
    def _folder_is_for_going_on(self) -> Self:
        if self.folder is not None and self.start == "merged":
            raise ValueError("folder does nothing with start: merged, where adapters begin anew: take start: adapter")
        return self

    def identity(self) -> dict[str, Any]:
        """Everything that decides what is trained: the settings, and of a folder the content."""
        return _with_content(self.model_dump(mode="json"), "folder")


class PolicyConfig(Section):
    """The model that is trained."""

    model_name: str = Field(description="a name on the hub, a folder, or `embedded`: the base model this run makes")
    revision: str = Field("main", description="commit, tag or branch on the hub; ModelScope's own default is master")
    hub: Literal["huggingface", "modelscope"] = Field("huggingface", description="where model_name is looked up")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the computation; auto: bfloat16 on accelerators, float32 on a CPU"
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto", description="auto: flash_attention_2 where it is installed and works, else what transformers takes"
    )
    gradient_checkpointing: bool = False
    hf_config_overrides: dict[str, Any] = Field(default_factory=dict, description="into the model's config.json")
    lora: PolicyLoraConfig | None = Field(None, description="train an adapter; null: all of the model's weights")

    def identity(self) -> dict[str, Any]:
        """Everything that decides what this policy learns."""
        identity = self.model_dump(mode="json")
        return identity if self.lora is None else {**identity, "lora": self.lora.identity()}


class AdamWConfig(Section):
    """AdamW, and the rate that its schedule is of."""

    learning_rate: float = Field(1e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)


class OptimizerConfig(AdamWConfig):
    """AdamW and its learning rate over the steps of a stage."""

    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up; the rate is constant afterwards")
    warmup_start_factor: float = Field(0.1, gt=0, le=1)


class CosineConfig(AdamWConfig):
    """AdamW and a learning rate that rises linearly and then falls along half a cosine, to the last step."""

    learning_rate: float = Field(1e-5, gt=0)
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="share of all steps in which the rate rises, from 0")
    final_factor: float = Field(0.0, ge=0, le=1, description="of the learning rate, at the end")


CRITIC_OPTIMIZER = OptimizerConfig(learning_rate=1e-5)


class CriticConfig(GrownSection):
    """The value model of `algorithm.baseline: critic`: a scalar head on a transformer."""

    LATER: ClassVar[frozenset[str]] = frozenset(("revision", "hub", "backbone", "value_coefficient"))

    model_name: str | None = Field(
        None,
        description="a name on the hub, or a folder, with the policy's tokenizer; null: the model that the policy "
        "starts from",
    )
    revision: str = Field("main", description="commit, tag or branch on the hub; ModelScope's own default is master")
    hub: Literal["huggingface", "modelscope"] = Field("huggingface", description="where model_name is looked up")
    backbone: Literal["own", "shared", "policy_hidden"] = Field(
        "own",
        description="own: a second transformer; shared: an adapter of its own on the frozen weights below the "
        "policy's; policy_hidden: the policy's own hidden states, with one update for both",
    )
    optimizer: OptimizerConfig = Field(default_factory=lambda: CRITIC_OPTIMIZER)
    lora: LoraConfig | None = Field(None, description="train an adapter and the head; null: all of the weights")
    value_clip: float | None = Field(
        0.5, gt=0, description="how far a value may move from its old one before its loss stops; null: no bound"
    )
    value_coefficient: float = Field(
        0.1, gt=0, description="policy_hidden: of the value loss in the policy's; 0.1 is TRL's vf_coef"
    )
    warmup_steps: int = Field(0, ge=0, description="first steps of the first stage, in which the critic alone learns")

    @model_validator(mode="after")
    def _place_is_of_a_named_model(self) -> Self:
        for name in ("revision", "hub"):
            if self.model_name is None and self.is_set(name):
                raise ValueError(f"{name} does nothing without model_name: name the critic's model, or remove it")
        return self

    @model_validator(mode="after")
    def _backbone_has_its_options(self) -> Self:
        if self.backbone != "own" and self.model_name is not None:
            raise ValueError(
                f"model_name does nothing with backbone: {self.backbone}, which is the policy's: remove it, or take own"
            )
        if self.backbone == "shared" and self.lora is None:
            raise ValueError("backbone: shared trains an adapter: lora is needed ({} takes the defaults)")
        if self.backbone != "policy_hidden" and self.is_set("value_coefficient"):
            raise ValueError("value_coefficient does nothing without backbone: policy_hidden, whose loss is a sum")
        if self.backbone == "policy_hidden":
            self._refuse_what_the_policy_decides()
        return self

    def _refuse_what_the_policy_decides(self) -> None:
        if self.lora is not None:
            raise ValueError("lora does nothing with backbone: policy_hidden, which trains the policy's own: remove it")
        if self.optimizer != CRITIC_OPTIMIZER:
            raise ValueError("optimizer does nothing with backbone: policy_hidden, where the policy's trains the head")
        if self.warmup_steps:
            raise ValueError(
                "warmup_steps: the critic cannot learn alone with backbone: policy_hidden, where its gradient moves "
                "the policy: take 0"
            )

    def identity(self) -> dict[str, Any]:
        """Everything that decides what this critic learns: its settings, and of a folder the content."""
        return _with_content(self.model_dump(mode="json"), "model_name")


def _with_content(identity: dict[str, Any], name: str) -> dict[str, Any]:
    """Settings with the digest of a folder's content in place of its name."""
    folder = identity.get(name) and Path(identity[name]).expanduser()
    return {**identity, name: sampled_digest(folder)} if folder and folder.is_dir() else identity
