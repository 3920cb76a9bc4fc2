"""Makes, or fetches, the model that the first stage starts from; and fetches what else a recipe has of a hub."""

from rl_core.plan import DONE, base_part, taken_parts
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.recipe_task import DOWNLOAD_DELAYS, Made, recipe_task


def _lacks_another(run: RunDir, data: Made) -> bool:
    return any(part.state != DONE for part in taken_parts(run))


@recipe_task(lambda run, data: base_part(run), DOWNLOAD_DELAYS, look_again=_lacks_another)
def make_base_model(run: RunDir, data: Made) -> None:
    """Warm up the embedded model on the data, or fetch the one that is named; and a reward model and a critic's."""
    run_stage(run, base_part(run).name, "warm-up")
