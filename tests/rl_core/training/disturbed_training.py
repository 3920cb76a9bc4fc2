"""`python -m rl_core`, but before one step the sampler gets weights that are not the policy's.

Run by `test_resume`, with the step in the environment variable DISTURBED_STEP.
"""

import os
import sys
from typing import Any

from rl_core.__main__ import main
from rl_core.training import stage

FACTOR = 1.1  # of every weight


class DisturbedTraining(stage.StageTraining):
    """A stage whose sampler is disturbed behind the comparison of fingerprints."""

    def _step(self, step: int) -> dict[str, Any]:
        if step == int(os.environ["DISTURBED_STEP"]):
            self.engine.load_weights(((name, FACTOR * weight) for name, weight in self.learner.weights()), step - 1)
        return super()._step(step)


if __name__ == "__main__":
    stage.StageTraining = DisturbedTraining  # type: ignore[misc]
    sys.exit(main())
