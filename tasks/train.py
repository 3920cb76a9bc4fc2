"""Trains one stage of the recipe."""

from rl_core.plan import training_part
from rl_core.run_dir import RunDir
from tasks.memory import run_within_memory
from tasks.recipe_task import STAGE_DELAYS, Made, recipe_task


@recipe_task(lambda run, index, policy: training_part(run, index), STAGE_DELAYS)
def train(run: RunDir, index: int, policy: Made) -> None:
    """Train stage `index`, from `policy` or from where an earlier attempt was stopped.

    The stage's process starts its own workers where the recipe asks for several; nothing here counts devices.
    """
    name, longest = training_part(run, index).name, run.config.stages[index].context_tokens
    run_within_memory(run, name, "train", run.stage(index), longest, index)
