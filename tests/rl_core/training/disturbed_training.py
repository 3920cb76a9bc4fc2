"""`python -m rl_core`, disturbed at one step as `test_resume` asks by an environment variable.

DISTURBED_STEP: before this step the sampler gets weights that are not the policy's. KILLED_STEP: the process is killed
when half of this step's checkpoint is written.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from rl_core.__main__ import main
from rl_core.checkpoint import saving
from rl_core.training import stage

FACTOR = 1.1  # of every weight


class DisturbedTraining(stage.StageTraining):
    """A stage whose sampler is disturbed behind the comparison of fingerprints."""

    def _step(self, step: int) -> dict[str, Any]:
        if str(step) == os.environ.get("DISTURBED_STEP"):
            self.engine.load_weights(((name, FACTOR * weight) for name, weight in self.learner.weights()), step - 1)
        return super()._step(step)


def write_tensors_or_die(folder: Path, *arguments: Any, **options: Any) -> None:
    """As the original, which writes the policy's first and the optimizer's then."""
    killed = int(os.environ.get("KILLED_STEP", 0))
    if folder.parts[-3:] == (f"step_{killed:06d}.partial", "trainer", "optimizer"):
        os.kill(os.getpid(), signal.SIGKILL)
    write_tensors(folder, *arguments, **options)


write_tensors = saving.write_tensors

if __name__ == "__main__":
    stage.StageTraining = DisturbedTraining  # type: ignore[misc]
    saving.write_tensors = write_tensors_or_die
    sys.exit(main())
