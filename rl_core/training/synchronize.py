"""The learner's weights into the sampler, and the proof that they arrived."""

from collections.abc import Iterator

import torch

from rl_core.models.lora import name_without_peft
from rl_core.rollout.engine import RolloutEngine
from rl_core.rollout.fingerprint import Fingerprints, require_equal, tensor_fingerprint
from rl_core.training.learner import Learner


def synchronize(learner: Learner, engine: RolloutEngine, policy_version: int) -> int:
    """Give the sampler every weight that is trained, one at a time, then compare fingerprints of all that it computes
    with; returns the bytes sent.

    A collective call.

    Raises:
        GuardStop: the sampler computes with other weights than the learner's.
    """
    expected: Fingerprints = {}
    num_bytes = 0

    def weights() -> Iterator[tuple[str, torch.Tensor]]:
        nonlocal num_bytes
        for name, weight in learner.weights():
            expected[name] = tensor_fingerprint(weight)
            num_bytes += weight.nbytes
            yield name, weight

    engine.load_weights(weights(), policy_version)
    expected.update(learner.frozen_fingerprints)
    expected.update({alias: expected[name] for alias, name in _tied(learner).items()})
    require_equal(expected, engine.fingerprint(), policy_version=policy_version)
    return num_bytes


def _tied(learner: Learner) -> dict[str, str]:
    """Other names of parameters that have several, by the first."""
    names: dict[int, str] = {}
    tied = {}
    for name, parameter in learner.causal_lm.named_parameters(remove_duplicate=False):
        name = name_without_peft(name)
        first = names.setdefault(id(parameter), name)
        if first != name:
            tied[name] = first
    return tied
