"""DeepSpeed's own configuration, derived from the recipe's. `training.deepspeed` adds to it, section by section."""

from typing import Any

from rl_core.config.models import AdamWConfig
from rl_core.config.training import TrainingConfig
from rl_core.errors import MistakeError

NEVER = 10**9
MAX_BUCKET = 500_000_000  # gradients that are reduced together: DeepSpeed's default, held in memory throughout
OURS = {  # setting of DeepSpeed -> where the recipe decides it
    "train_batch_size": "algorithm.minibatch_sequences",
    "train_micro_batch_size_per_gpu": "training.micro_batch_tokens",
    "gradient_accumulation_steps": "training.micro_batch_tokens",
    "gradient_clipping": "optimizer.max_grad_norm",
    "optimizer": "optimizer",
    "scheduler": "optimizer.warmup_steps",
    "bf16": "policy.dtype",
    "fp16": "policy.dtype",
    "zero_optimization.stage": "training.zero_stage",
}


def deepspeed_config(
    training: TrainingConfig, optimizer: AdamWConfig, *, num_trained: int, bfloat16: bool
) -> dict[str, Any]:
    """The dictionary for `deepspeed.initialize`.

    Args:
        num_trained: parameters that are trained. Room for more gradients than that is never held.

    Raises:
        MistakeError: `training.deepspeed` sets what the recipe decides itself, or bfloat16 is trained without ZeRO.
    """
    if bfloat16 and training.zero_stage == 0:
        raise MistakeError(
            "training.zero_stage is 0 and the policy is in bfloat16: DeepSpeed then keeps float32 weights where no "
            "checkpoint can reach them; set training.zero_stage to 1, or policy.dtype to float32"
        )
    for name, ours in OURS.items():
        section, _, field = name.partition(".")
        if section in training.deepspeed and (not field or field in training.deepspeed[section]):
            raise MistakeError(f"training.deepspeed.{name}: decided by the recipe; set {ours}")
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,  # accumulation boundaries are set by hand: micro-batches vary in number
        "gradient_clipping": optimizer.max_grad_norm,
        "bf16": {"enabled": bfloat16},
        "zero_optimization": {"stage": training.zero_stage, "reduce_bucket_size": min(MAX_BUCKET, num_trained)},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": NEVER,
    }
    return _merged(config, training.deepspeed)


def _merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    merged = dict(ours)
    for name, value in theirs.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged
