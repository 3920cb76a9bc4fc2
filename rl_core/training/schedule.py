"""The learning rate as a function of the step: nothing to save, nothing to drift by one."""

import math

from rl_core.config import OptimizerConfig
from rl_core.config.models import CosineConfig


def learning_rate(optimizer: OptimizerConfig, step: int) -> float:
    """Rate of step `step` (1 is the first): linear from warmup_start_factor to 1 over warmup_steps, then constant.

    As torch's LinearLR advanced once per step: step 1 has the start factor, step warmup_steps + 1 the full rate.
    """
    if step > optimizer.warmup_steps:
        return optimizer.learning_rate
    progress = (step - 1) / optimizer.warmup_steps
    factor = optimizer.warmup_start_factor + (1 - optimizer.warmup_start_factor) * progress
    return optimizer.learning_rate * factor


def cosine_rate(optimizer: CosineConfig, step: int, num_steps: int) -> float:
    """Rate of step `step` of `num_steps` (1 is the first): from 0 linearly to 1, then along half a cosine.

    With a final factor of 0 it is that of transformers' get_cosine_schedule_with_warmup, advanced once per step, with
    ceil(warmup_fraction num_steps) warm-up steps, as its Trainer counts them: step 1 has rate 0 where there are any.
    """
    warmup_steps, done = math.ceil(optimizer.warmup_fraction * num_steps), step - 1
    if done < warmup_steps:
        return optimizer.learning_rate * done / warmup_steps
    progress = (done - warmup_steps) / max(1, num_steps - warmup_steps)
    factor = 0.5 * (1 + math.cos(math.pi * progress))
    return optimizer.learning_rate * (optimizer.final_factor + (1 - optimizer.final_factor) * factor)
