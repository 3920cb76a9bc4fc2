"""Evaluates one model under the recipe's protocol, on each of its benchmarks."""

from rl_core.config import StageIndex
from rl_core.plan import evaluations_part
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.recipe_task import STAGE_DELAYS, Made, recipe_task


@recipe_task(lambda run, index, model: evaluations_part(run, index), STAGE_DELAYS)
def evaluate(run: RunDir, index: StageIndex | None, model: Made) -> None:
    """Evaluate the model of stage `index`, or the base model (None)."""
    run_stage(run, evaluations_part(run, index).name, "evaluate", index)
