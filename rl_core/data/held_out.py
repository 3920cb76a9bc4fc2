"""A test set drawn out of the training rows. Pure; called by `prepare`."""

from collections.abc import Sequence
from math import ceil

import numpy as np

from rl_core.data.raw import RawRow
from rl_core.errors import MistakeError


def hold_out(rows: Sequence[RawRow], fraction: float, seed: int) -> tuple[list[RawRow], list[RawRow]]:
    """The rows to train on and the rows to test on, each in the order they came in.

    The test rows are the first ceil(fraction n) of a permutation of all n by numpy's default generator under `seed`:
    those that `Dataset.train_test_split(test_size=fraction, seed=seed)` of the package datasets takes (5.2.0), and with
    it siiRL's script for DeepScaleR (fraction 0.1, seed 15).

    Raises:
        MistakeError: nothing is left to train on.
    """
    count = ceil(fraction * len(rows))
    if count >= len(rows):
        raise MistakeError(f"data.test.fraction is {fraction}: of {len(rows)} training rows none is left to train on")
    drawn = set(np.random.default_rng(seed).permutation(len(rows))[:count].tolist())
    kept = [row for index, row in enumerate(rows) if index not in drawn]
    return kept, [row for index, row in enumerate(rows) if index in drawn]
