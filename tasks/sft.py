"""Fine-tunes the base model on given answers."""

from rl_core.config import SFT
from rl_core.plan import training_part
from rl_core.run_dir import RunDir
from tasks.memory import run_within_memory
from tasks.recipe_task import STAGE_DELAYS, Made, recipe_task


@recipe_task(lambda run, base: training_part(run, SFT), STAGE_DELAYS)
def fine_tune(run: RunDir, base: Made) -> None:
    """Fine-tune `base`, from its start or from where an earlier attempt was stopped."""
    assert run.config.sft is not None, "asked only where the recipe has it"
    run_within_memory(run, training_part(run, SFT).name, "sft", run.stage(SFT), run.config.sft.max_tokens)
