"""Trains the run's own reward model."""

from rl_core.plan import trained_reward_model_part
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.recipe_task import STAGE_DELAYS, Made, recipe_task


@recipe_task(lambda run, pairs: trained_reward_model_part(run), STAGE_DELAYS)
def train_reward_model(run: RunDir, pairs: Made) -> None:
    """Train the reward model on `pairs`, from its start or from where an earlier attempt was stopped."""
    run_stage(run, trained_reward_model_part(run).name, "reward-model")
