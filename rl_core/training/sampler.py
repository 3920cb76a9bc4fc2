"""Which problems a step trains on: a fresh permutation of the training set in each epoch.

The order is a function of (seed, stage, epoch). The position in it is the trainer's to keep: a step of dynamic
sampling takes as many problems as it needs.
"""

import numpy as np

from rl_core.config import StageIndex
from rl_core.world import derive_seed


def problems_at(position: int, count: int, *, num_problems: int, seed: int, stage: StageIndex | str) -> list[int]:
    """Indices of the `count` problems behind the first `position`. An epoch's last, short batch takes from the next.

    Raises:
        ValueError: there are fewer problems than are asked for at once.
    """
    if num_problems < count:
        raise ValueError(f"{num_problems} problems are fewer than the {count} of one step")
    positions = range(position, position + count)
    orders = {epoch: _order(epoch, num_problems, seed, stage) for epoch in {p // num_problems for p in positions}}
    return [int(orders[position // num_problems][position % num_problems]) for position in positions]


def _order(epoch: int, num_problems: int, seed: int, stage: StageIndex | str) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, "order", stage, epoch)).permutation(num_problems)
