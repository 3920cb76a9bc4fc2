"""Is there room for what a run keeps?"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rl_core.config import RecipeConfig
from rl_core.doctor.finding import Finding, ok, stop, warning
from rl_core.run_dir import RunDir

GB = 10**9
HUB_BYTES = 2  # of one parameter as hubs keep it: bfloat16
STATE_BYTES = 12  # of one in a checkpoint: weight and both moments of AdamW, float32
EMBEDDED_BYTES = 500_000_000  # of a whole run of the embedded recipe: measured 0.2 GB


def disk(run: RunDir, model_bytes: int | None) -> Iterator[Finding]:
    """The run's folder, and the shared memory of downloads."""
    folder = _nearest(run.root)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield stop(
            "run directory", f"{folder} cannot be written", "give another --run-dir, or the right to write there"
        )
        return
    free = shutil.disk_usage(folder).free
    needed = needed_bytes(run.config, model_bytes)
    if needed is None:
        yield ok("disk", f"{free / GB:.0f} GB free in {folder}; what the run needs is not known")
        return
    found = f"{free / GB:.0f} GB free in {folder}; the run keeps some {needed / GB:.1f} GB"
    if free < needed:
        yield stop("disk", found, "make room, give another --run-dir, or lower checkpoint.keep_last")
    elif free < 2 * needed:
        yield warning("disk", found, "leave twice that where others write there as well")
    else:
        yield ok("disk", found)


def needed_bytes(config: RecipeConfig, model_bytes: int | None) -> int | None:
    """An estimate of what a run keeps at most; None where the model's size is not known.

    Downloaded weights and the run's copy of them; for each training (stages, fine-tuning, a reward model) its last
    checkpoints and the converted model; and one checkpoint more, which is written before an older one goes. An
    adapter's checkpoints are small beside the model.
    """
    if config.policy.model_name == "embedded":
        return EMBEDDED_BYTES
    if not model_bytes:
        return None
    whole = _whole_models(config)
    state = STATE_BYTES * (model_bytes // HUB_BYTES)
    kept = sum(config.checkpoint.keep_last * count * state + model_bytes for count in whole)
    return 2 * model_bytes + kept + max(whole) * state


def _whole_models(config: RecipeConfig) -> list[int]:
    """Of each training, how many models it trains all the weights of: adapters and heads are none."""
    critic, before = config.critic, [part for part in (config.sft, config.reward_model) if part is not None]
    of_values = critic is not None and critic.lora is None and critic.backbone == "own"
    of_a_stage = int(config.policy.lora is None) + int(of_values)
    return [int(part.lora is None) for part in before] + [of_a_stage] * len(config.stages)


def _nearest(path: Path) -> Path:
    """The folder, or the one above it that is there already."""
    return path if path.is_dir() else _nearest(path.parent)
