"""How responses are sampled."""

from typing import Any, Literal

from pydantic import Field

from rl_core.config.section import Section


class VllmConfig(Section):
    """vLLM's own settings, where it is the engine; none of them changes what is computed, but for float rounding."""

    gpu_memory_utilization: float = Field(
        0.5, gt=0, lt=1, description="share of a device's memory beside the learner; evaluation, alone, takes 0.9"
    )
    tensor_parallel_size: int = Field(1, ge=1, description="devices that one model is split over")
    engine_args: dict[str, Any] = Field(default_factory=dict, description="more of vLLM's own engine arguments")


class RolloutConfig(Section):
    """How responses are sampled for training; the engine also serves evaluation."""

    engine: Literal["auto", "vllm", "transformers"] = Field(
        "auto", description="auto: vllm where it is installed, transformers elsewhere"
    )
    vllm: VllmConfig = Field(default_factory=VllmConfig)
    num_prompts: int = Field(128, ge=1, description="problems per step (P)")
    num_samples: int = Field(8, ge=1, description="responses per problem (G)")
    temperature: float = Field(1.0, gt=0, description="of sampling, and of every log-probability in the loss")
    max_concurrent_sequences: int = Field(256, ge=1, description="decoded together on one device")
