"""The models that are trained, and their optimizer."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rl_core.config.section import Section
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
    lora: LoraConfig | None = Field(None, description="train an adapter; null: all of the model's weights")


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


class CriticConfig(Section):
    """The value model of `algorithm.baseline: critic`: a transformer of its own with a scalar head, trained beside."""

    model_name: str | None = Field(
        None, description="folder it starts from; null: the model that the policy starts from"
    )
    optimizer: OptimizerConfig = Field(default_factory=lambda: OptimizerConfig(learning_rate=1e-5))
    lora: LoraConfig | None = Field(None, description="train an adapter and the head; null: all of the weights")
    value_clip: float | None = Field(
        0.5, gt=0, description="how far a value may move from its old one before its loss stops; null: no bound"
    )
    warmup_steps: int = Field(0, ge=0, description="first steps of the first stage, in which the critic alone learns")

    def identity(self) -> dict[str, Any]:
        """Everything that decides what this critic learns: its settings, and of a folder the content."""
        identity = self.model_dump(mode="json")
        folder = None if self.model_name is None else Path(self.model_name).expanduser()
        if folder is not None and folder.is_dir():
            identity["model_name"] = sampled_digest(folder)
        return identity
