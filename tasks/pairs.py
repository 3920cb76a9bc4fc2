"""Makes preference pairs."""

from rl_core.plan import pairs_part
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.recipe_task import STAGE_DELAYS, Made, recipe_task


@recipe_task(lambda run, policy: pairs_part(run), STAGE_DELAYS)
def make_pairs(run: RunDir, policy: Made) -> None:
    """Sample responses from `policy`, the first of the stages', and pair them."""
    run_stage(run, pairs_part(run).name, "pairs")
