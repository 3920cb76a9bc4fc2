"""Starts the training of the reward model, in one process or several, and converts what came of it."""

from rl_core.run_dir import RunDir


def train_reward_model(run: RunDir) -> None:
    """Train the reward model on `run.pairs` and fill `run.reward_model`; return at once when it is done."""
    raise NotImplementedError
