"""Which problems a step trains on: a fresh permutation of the training set in each epoch.

The order is a function of (seed, stage, epoch). The position in it is the trainer's to keep: a step of dynamic
sampling takes as many problems as it needs.
"""

from functools import lru_cache

import numpy as np

from rl_core.config import StageIndex
from rl_core.world import derive_seed


def problems_at(
    position: int, count: int, *, num_problems: int, seed: int, stage: StageIndex | str, apart: int = 0
) -> list[int]:
    """Indices of the `count` problems behind the first `position`. An epoch's last, short batch takes from the next.

    Args:
        apart: no problem comes twice among so many in a row, where there are as many: what the last of one epoch and
            the first of the next could be.

    Raises:
        ValueError: there are fewer problems than are asked for at once.
    """
    if num_problems < count:
        raise ValueError(f"{num_problems} problems are fewer than the {count} of one step")
    positions = range(position, position + count)
    epochs = {p // num_problems for p in positions}
    orders = {epoch: _order(epoch, num_problems, seed, stage, apart) for epoch in epochs}
    return [int(orders[position // num_problems][position % num_problems]) for position in positions]


@lru_cache(maxsize=4)
def _order(epoch: int, num_problems: int, seed: int, stage: StageIndex | str, apart: int) -> np.ndarray:
    if not apart:
        return _permutation(epoch, num_problems, seed, stage)
    order = _permutation(0, num_problems, seed, stage)
    for later in range(1, epoch + 1):
        order = _kept_apart(order, _permutation(later, num_problems, seed, stage), min(apart, num_problems))
    return order


def _kept_apart(previous: np.ndarray, order: np.ndarray, apart: int) -> np.ndarray:
    """The order with others in front of what the previous epoch ended with; changed only where it has to be."""
    last = previous[-apart:]
    if not np.isin(order[:apart], last).any():
        return order
    first = order[~np.isin(order, last)][:apart]
    behind = order if len(first) == apart else previous  # so few that some are due again: those that waited longest
    return np.concatenate([first, behind[~np.isin(behind, first)]])


def _permutation(epoch: int, num_problems: int, seed: int, stage: StageIndex | str) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, "order", stage, epoch)).permutation(num_problems)
