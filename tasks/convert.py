"""Converts what a stage trained into a model that loads by path alone."""

from rl_core.config import StageIndex
from rl_core.plan import hf_part
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.recipe_task import STAGE_DELAYS, Made, recipe_task


@recipe_task(lambda run, index, trained: hf_part(run, index), STAGE_DELAYS)
def convert(run: RunDir, index: StageIndex, trained: Made) -> None:
    """Convert the last checkpoint of stage `index` to Hugging Face format, verified."""
    run_stage(run, hf_part(run, index).name, "convert", index)
