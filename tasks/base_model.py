"""Makes, or fetches, the model that the first stage starts from; and fetches a reward model of the hub."""

from rl_core.plan import DONE, base_part, reward_model_parts
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.recipe_task import DOWNLOAD_DELAYS, Made, recipe_task


def _lacks_reward_model(run: RunDir, data: Made) -> bool:
    return any(part.state != DONE for part in reward_model_parts(run))


@recipe_task(lambda run, data: base_part(run), DOWNLOAD_DELAYS, look_again=_lacks_reward_model)
def make_base_model(run: RunDir, data: Made) -> None:
    """Warm up the embedded model on the data, or fetch the one that the recipe names; and a reward model."""
    run_stage(run, base_part(run).name, "warm-up")
