"""The protocol of every rollout engine: five verbs. Training and evaluation know nothing else of an engine."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from rl_core.progress import Progress
from rl_core.rollout.fingerprint import Fingerprints
from rl_core.types import Completion, Request

NamedTensors = Iterable[tuple[str, torch.Tensor]]
Finished = Callable[[int, Completion], None]


@dataclass(frozen=True, slots=True)
class Sampling:
    """The distribution that tokens are drawn from."""

    temperature: float = 1.0  # 0: always the likeliest token
    top_p: float = 1.0  # nucleus: the smallest set of likeliest tokens whose probabilities reach it; 1: all
    logprobs: bool = True  # whether completions must hold log-probabilities: an evaluation reads none


class RolloutEngine(Protocol):
    """Samples responses from a policy whose weights it holds itself."""

    ranks_per_engine: int  # ranks that generate together: they must be given the same requests

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        finished: Finished | None = None,
    ) -> list[Completion]:
        """One completion for each request, in their order. A request's seed alone decides its randomness.

        Args:
            finished: called with the place and the completion of each request as it ends.
        """
        ...

    def load_weights(self, weights: NamedTensors, policy_version: int) -> None:
        """Take over weights, one tensor at a time, under the policy's parameter names: all, or those of its adapter.

        Where there is an adapter, every response is sampled with it from the first call on.

        What arrived is for the fingerprint to say.

        Raises:
            ValueError: a name or shape is not the model's.
        """
        ...

    def fingerprint(self) -> Fingerprints:
        """Of every weight that the engine computes with, tied ones under each of their names."""
        ...

    def sleep(self) -> None:
        """Give memory back until `wake`, weights included: they must be loaded again. Twice does nothing more."""
        ...

    def wake(self) -> None:
        """Be ready to generate again; twice does nothing more."""
        ...

    def close(self) -> None:
        """Give everything back; the engine cannot be used afterwards."""
        ...
