"""Estimates of KL(policy || reference) from the tokens that the policy sampled, and a coefficient that adapts to it.

Shapes: N response tokens of some sequences laid end to end. Log-probabilities are natural, of the distribution that was
sampled from. With d = policy - ref, its gradient g on one token, and the expectation over the policy's tokens:

    estimator  value            mean of the value        gradient      mean of the gradient
    k1         d                KL(policy || ref)        g             zero: teaches nothing but noise
    k2         d^2 / 2          biased, close if small   d g           that of KL(policy || ref)
    k3         e^-d + d - 1     KL(policy || ref)        (1 - e^-d) g  that of KL(ref || policy)
    k1+, k3+   of k1, of k3     KL(policy || ref)        d g           that of KL(policy || ref)

As a loss k2, k1+ and k3+ have the right gradient, of each token given those before it; k3 (GRPO's) pulls towards the
reference as well, but by the divergence of the other direction. As a metric, or within the reward, k1 and k3 have the
right value. All of this is for tokens of the policy itself: behind the first update of a step the tokens are those of
the policy that sampled, and no estimator here weighs by the ratio of the two.
"""

import math
from typing import Literal

import torch

KlEstimator = Literal["k1", "k2", "k3", "k1+", "k3+"]

# Bounds on the exponent and on the estimate, as in NeMo RL: one token with a wild ratio must not own the gradient.
KL_MAX_LOG_RATIO = 20.0
KL_MAX = 10.0

MAX_ADAPTATION = 0.2  # Ziegler et al.'s bound on the relative error that the controller answers to


def kl(policy_logprobs: torch.Tensor, ref_logprobs: torch.Tensor, estimator: KlEstimator) -> torch.Tensor:
    """Estimate of KL(policy || reference) per token; the table at the head of this module says what each one is.

    Source: k1, k2, k3: Schulman 2020, "Approximating KL Divergence" (joschu.net/blog/kl-approx.html); k3 as a loss:
    GRPO, arXiv 2402.03300, equation 4; which gradient each has: Tang and Munos 2025, arXiv 2506.09477; the "+" forms,
    value of one with the gradient of k2, are verl's. The bounds are NeMo RL's: |d| at most 20 and the estimate within
    -10..10; where a bound holds the gradient is zero, for the "+" forms where it is k2's that is bounded.

    Args:
        policy_logprobs: [N], with gradient where it is part of a loss.
        ref_logprobs: [N], without.

    Returns:
        [N]. k2 and k3 are never negative; k1 is.
    """
    difference = (policy_logprobs - ref_logprobs).clamp(-KL_MAX_LOG_RATIO, KL_MAX_LOG_RATIO)
    if estimator.endswith("+"):
        gradient = _value(difference, "k2")
        return _value(difference.detach(), estimator) + (gradient - gradient.detach())
    return _value(difference, estimator)


def _value(difference: torch.Tensor, estimator: KlEstimator) -> torch.Tensor:
    if estimator.startswith("k1"):
        value = difference
    elif estimator == "k2":
        value = 0.5 * difference.square()
    else:
        value = (-difference).exp() + difference - 1
    return value.clamp(-KL_MAX, KL_MAX)


def adapted_coefficient(coefficient: float, kl: float, *, target: float, horizon: int, num_responses: int) -> float:
    """The coefficient after a step whose divergence was measured: raised where it is above the target, else lowered.

    coefficient (1 + clip(kl / target - 1, -0.2, 0.2) n / horizon), with n the step's responses.

    Source: Ziegler et al. 2019, arXiv 1909.08593, section 2.2. Unlike there, n / horizon is at most 1, since a step of
    more than five horizons could turn the coefficient negative.

    Args:
        coefficient: above 0.
        kl: mean over the step, in nats; one that is not finite says nothing and leaves the coefficient.
        target: above 0, in nats.
        horizon: responses, at least 1.
        num_responses: of the step.
    """
    if not math.isfinite(kl):
        return coefficient
    error = min(max(kl / target - 1, -MAX_ADAPTATION), MAX_ADAPTATION)
    return coefficient * (1 + error * min(num_responses / horizon, 1.0))
