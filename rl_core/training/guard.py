"""Guards that end a run: a sampler that no longer samples from the policy that is trained, updates that are not finite.

Which bounds on the sampler, and why one looks at several steps: docs/decisions/0009-a-guard-on-the-sampler.md.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median_low

from rl_core.config.training import GuardConfig
from rl_core.errors import GuardStop
from rl_core.training.trained_module import Update

MEDIAN_STEPS = 10  # the shortest run over which NeMo RL takes the median of the error: its gate on the 24K stage


class SamplerGuard:
    """Compares the figures of each step with the recipe's bounds."""

    def __init__(self, bounds: GuardConfig) -> None:
        self._bounds = bounds
        self._errors: deque[float] = deque(maxlen=MEDIAN_STEPS)

    def remember(self, errors: Iterable[float | None]) -> None:
        """`sampler_logprob_error_mean` of the steps so far, in their order; None where nothing was trained on."""
        self._errors.extend(error for error in errors if error is not None)

    def objection(self, figures: Mapping[str, float | None]) -> str | None:
        """Which bound one more step passes, in words; None where it keeps all of them. Remembers the step.

        What is not a number passes every bound.
        """
        error, kl = figures["sampler_logprob_error_mean"], figures["sampler_kl"]
        self.remember([error])
        if kl is not None and _passes(kl, self._bounds.max_sampler_kl):
            return f"sampler_kl is {kl:.3g}, above guard.max_sampler_kl {self._bounds.max_sampler_kl:g}"
        if error is None:
            return None
        middle = error if math.isnan(error) else median_low(self._errors)
        if _passes(middle, self._bounds.max_sampler_logprob_error):
            return (
                f"the median of sampler_logprob_error_mean over the last {len(self._errors)} steps is {middle:.4g}, "
                f"above guard.max_sampler_logprob_error {self._bounds.max_sampler_logprob_error:g}"
            )
        return None


class NonfiniteGuard:
    """Counts the updates in a row, of one module, that were left out because their loss or gradient was not finite."""

    def __init__(self, module: str, bound: int, *, by_rewards: bool = False) -> None:
        """Args:
        by_rewards: whether the module learns from rewards, which may then be the cause.
        """
        self.in_a_row = 0
        self._module, self._bound = module, bound
        self._causes = "the rewards and at the learning rate" if by_rewards else "the learning rate"

    def see(self, update: Update) -> None:
        """One more update.

        Raises:
            GuardStop: it is one too many.
        """
        self.in_a_row = 0 if update.applied else self.in_a_row + 1
        if self.in_a_row > self._bound:
            raise GuardStop(
                f"{self.in_a_row} updates of the {self._module} in a row were not finite (the last: loss "
                f"{update.loss:.3g}, gradient norm {update.grad_norm:.3g}), more than guard.max_nonfinite_updates "
                f"({self._bound}). None of them was applied; the run stops at its last checkpoint. Look at "
                f"{self._causes}; in bfloat16 also at policy.dtype"
            )


def stop_message(step: int, objection: str, kept: str) -> str:
    """What a person reads when the guard stops a run at `step`; `kept` says what of it is on disk."""
    return (
        f"step {step}: {objection}. The sampler gives the tokens it sampled other probabilities than the trainer does. "
        "Likely it holds stale weights, or computes at another temperature or in another precision. Nothing was "
        f"learned from this step; {kept}. Where the difference is one that you accept, raise the bound (null: none) "
        f"and run the same command: it goes on with step {step}."
    )


def _passes(value: float, bound: float | None) -> bool:
    return bound is not None and not value <= bound
