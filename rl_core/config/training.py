"""How training is laid out, saved and guarded."""

from typing import Any, Literal

from pydantic import Field

from rl_core.config.section import Section


class TrainingConfig(Section):
    """How the work is laid out on devices; none of it changes what is computed, but for float rounding."""

    num_processes: int | Literal["auto"] = Field(
        "auto", description="that train, and that evaluate; auto: one per accelerator, or one on a CPU"
    )
    zero_stage: Literal[0, 1, 2, 3] = 1
    packing: Literal["auto", "packed", "bucketed"] = Field(
        "auto",
        description="packed: sequences end to end, none padded; bucketed: rows of alike length, padded to the longest; "
        "auto: packed with flash attention, else bucketed",
    )
    micro_batch_tokens: int = Field(
        32768,
        ge=64,
        description="most tokens of one forward on one device, padding included; a longer sequence is alone",
    )
    deepspeed: dict[str, Any] = Field(default_factory=dict, description="more of DeepSpeed's own configuration")


class CheckpointConfig(Section):
    """When the trainer saves, what is kept, and what conversion writes."""

    every_steps: int = Field(10, ge=1)
    keep_last: int = Field(2, ge=1)
    export_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    max_shard_bytes: int = Field(4_000_000_000, ge=1_000_000)


class GuardConfig(Section):
    """Bounds past which a run stops with its state saved, or a stage that hangs is ended and tried again.

    They decide nothing that is computed, so that a stopped run may go on under another bound.
    """

    max_sampler_logprob_error: float | None = Field(
        1.05, gt=1, description="of sampler_logprob_error_mean, by its median over the last steps; null: no bound"
    )
    max_sampler_kl: float | None = Field(5e-4, gt=0, description="of sampler_kl, in every step; null: no bound")
    max_nonfinite_updates: int = Field(
        3, ge=0, description="updates in a row whose loss or gradient is not finite: each is left out; more end the run"
    )
    max_silent_seconds: float | None = Field(
        1800, gt=0, description="in which a stage says nothing, before it is taken for hung; null: no bound"
    )
