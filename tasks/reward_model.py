"""Trains the run's own reward model."""

from rl_core.plan import trained_reward_model_part
from rl_core.run_dir import RunDir
from tasks.memory import run_within_memory
from tasks.recipe_task import STAGE_DELAYS, Made, recipe_task

CONVERSATIONS = 2  # of a pair, which are computed together


@recipe_task(lambda run, pairs: trained_reward_model_part(run), STAGE_DELAYS)
def train_reward_model(run: RunDir, pairs: Made) -> None:
    """Train the reward model on `pairs`, from its start or from where an earlier attempt was stopped."""
    config = run.config.reward_model
    assert config is not None, "asked only where the recipe has it"
    name, longest = trained_reward_model_part(run).name, CONVERSATIONS * config.max_tokens
    run_within_memory(run, name, "reward-model", run.reward_model_training, longest, unit="pair")
