"""The supervised training: from the base model to its last step."""

from rl_core.run_dir import RunDir


def train(run: RunDir) -> None:
    """Train to the last step, on this process as one rank of those that torchrun started."""
    raise NotImplementedError
