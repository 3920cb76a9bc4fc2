"""Fingerprints of weights, compared between learner and sampler after each synchronisation.

Peers have trained for weeks against a sampler that never received an update; a sum per tensor would have shown it.
"""

import torch

from rl_core.errors import GuardStop


def tensor_fingerprint(tensor: torch.Tensor) -> float:
    """Sum of x_i * (1 + i mod 7), in float64: changes with any value and with most permutations of them."""
    flat = tensor.detach().flatten().double()
    weights = torch.arange(flat.numel(), device=flat.device).remainder_(7).add_(1)
    return float(flat @ weights.double())


def require_equal(learner: dict[str, float], sampler: dict[str, float], *, policy_version: int) -> None:
    """Stop the run when the sampler does not hold the learner's weights.

    Raises:
        GuardStop: names the tensors that differ.
    """
    different = [name for name, value in learner.items() if sampler.get(name) != value]
    if different:
        raise GuardStop(
            f"the sampler does not hold the weights of policy version {policy_version}: {len(different)} of "
            f"{len(learner)} tensors differ, first {different[0]}"
        )
