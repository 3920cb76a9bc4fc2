"""The stage `pairs`: responses of the first policy, and which of two is better."""

from rl_core.run_dir import RunDir


def make_pairs(run: RunDir) -> None:
    """Fill `run.pairs`; return at once when it is done."""
    raise NotImplementedError
