"""One rank and two, ZeRO 0 to 3: the same losses and gradients."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_core.world import World
from tests.rl_core.supervised.ranks_worker import UPDATES, ZERO_STAGES, losses_at_every_stage

REPOSITORY = Path(__file__).resolve().parents[3]
ROUNDING = 1e-4  # relative, of float32 over a few updates: ranks and stages add in another order


@pytest.mark.slow
def test_however_many_ranks_and_at_every_zero_stage_the_losses_are_those_of_one(world: World, tmp_path: Path) -> None:
    one = losses_at_every_stage(world)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*launch, "tests.rl_core.supervised.ranks_worker", str(tmp_path / "two.json")],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    two = json.loads((tmp_path / "two.json").read_text())
    expected = one["0"]
    assert len({round(loss, 3) for loss, _ in expected}) == UPDATES
    for figures in (one, two):
        assert list(figures) == [str(stage) for stage in ZERO_STAGES]
        for stage, updates in figures.items():
            for number, (got, wanted) in enumerate(zip(updates, expected, strict=True)):
                assert got == pytest.approx(wanted, rel=ROUNDING), (stage, number)
