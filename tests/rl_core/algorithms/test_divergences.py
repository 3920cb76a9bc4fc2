"""Estimators of the divergence: values and gradients by hand, their means worked out exactly, and the controller."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_core.algorithms.divergences import KlEstimator, adapted_coefficient, kl
from tests.rl_core.algorithms import oracles

ESTIMATORS: tuple[KlEstimator, ...] = ("k1", "k2", "k3", "k1+", "k3+")
INSIDE = 2.5  # |difference| below which no estimate is near its bound
E = math.e


def value_and_slope(policy: float, reference: float, estimator: KlEstimator) -> tuple[float, float]:
    logprobs = torch.tensor([policy], dtype=torch.float64, requires_grad=True)
    value = kl(logprobs, torch.tensor([reference], dtype=torch.float64), estimator)
    value.sum().backward()
    assert logprobs.grad is not None
    return value.item(), logprobs.grad.item()


@pytest.mark.parametrize(
    ("estimator", "policy", "reference", "value", "slope"),
    [
        ("k1", -1.0, -3.0, 2.0, 1.0),
        ("k1", -3.0, -1.0, -2.0, 1.0),
        ("k2", -1.0, -3.0, 2.0, 2.0),
        ("k2", -3.0, -1.0, 2.0, -2.0),
        ("k3", 0.0, 0.0, 0.0, 0.0),
        ("k3", -1.0, -2.0, 1 / E, 1 - 1 / E),
        ("k3", -3.0, -2.0, E - 2, 1 - E),
        ("k1+", -1.0, -3.0, 2.0, 2.0),
        ("k1+", -3.0, -1.0, -2.0, -2.0),
        ("k3+", -3.0, -2.0, E - 2, -1.0),
        # Beyond the bounds: differences of 50 and of -50, the estimate at 10 or -10.
        ("k1", 0.0, -50.0, 10.0, 0.0),
        ("k1", -50.0, 0.0, -10.0, 0.0),
        ("k2", -50.0, 0.0, 10.0, 0.0),
        ("k3", -50.0, 0.0, 10.0, 0.0),
        ("k3", 0.0, -50.0, 10.0, 0.0),
        ("k3", 0.0, -10.5, 10.5 - 1 + math.exp(-10.5), 1 - math.exp(-10.5)),
        ("k3+", -50.0, 0.0, 10.0, 0.0),
        ("k3+", 0.0, -5.0, 4 + math.exp(-5), 0.0),  # k2 is 12.5, beyond its bound; k3 is not
    ],
)
def test_one_token_worked_out_by_hand(
    estimator: KlEstimator, policy: float, reference: float, value: float, slope: float
) -> None:
    assert value_and_slope(policy, reference, estimator) == (pytest.approx(value), pytest.approx(slope))


@given(st.floats(-INSIDE, INSIDE), st.sampled_from(ESTIMATORS))
def test_values_and_gradients_are_those_of_the_formulas(difference: float, estimator: KlEstimator) -> None:
    value, slope = value_and_slope(difference - 3, -3.0, estimator)
    assert value == pytest.approx(oracles.divergence(difference - 3, -3.0, estimator[:2]), abs=1e-12)
    differentiated = "k2" if estimator.endswith("+") else estimator
    (expected,) = oracles.slopes(lambda at: oracles.divergence(at[0], -3.0, differentiated), [difference - 3])
    assert slope == pytest.approx(expected, abs=1e-6)


@given(st.floats(-100, 0), st.floats(-100, 0), st.sampled_from(ESTIMATORS))
def test_however_far_the_policies_are_apart_the_estimate_is_bounded(
    policy: float, reference: float, estimator: KlEstimator
) -> None:
    value, slope = value_and_slope(policy, reference, estimator)
    assert value == pytest.approx(oracles.divergence(policy, reference, estimator[:2]), abs=1e-12)
    assert math.isfinite(slope)
    assert (0 if estimator in ("k2", "k3", "k3+") else -10) <= value <= 10


POLICY, REFERENCE = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.5, 0.3]).double()


@pytest.mark.parametrize("estimator", ["k1", "k3", "k1+", "k3+"])
def test_the_mean_over_the_policys_tokens_is_the_divergence(estimator: KlEstimator) -> None:
    exact = (POLICY * (POLICY / REFERENCE).log()).sum()
    torch.testing.assert_close((POLICY * kl(POLICY.log(), REFERENCE.log(), estimator)).sum(), exact)


def gradient(loss_of: str, logits: torch.Tensor) -> torch.Tensor:
    """By the logits, of an estimator's mean over tokens that were drawn already, or of an exact divergence."""
    logits = logits.clone().requires_grad_()
    logprobs, reference = logits.log_softmax(-1), REFERENCE.log()
    exact = {
        "policy || reference": (logprobs.exp() * (logprobs - reference)).sum(),
        "reference || policy": (REFERENCE * (reference - logprobs)).sum(),
        "nothing": (logits * 0).sum(),
    }
    loss = exact[loss_of] if loss_of in exact else (POLICY * kl(logprobs, reference, loss_of)).sum()
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize(
    ("estimator", "divergence"),
    [
        ("k1", "nothing"),
        ("k2", "policy || reference"),
        ("k3", "reference || policy"),
        ("k1+", "policy || reference"),
        ("k3+", "policy || reference"),
    ],
)
def test_the_mean_gradient_of_each_estimator_is_of_the_divergence_that_the_table_says(
    estimator: str, divergence: str
) -> None:
    torch.testing.assert_close(gradient(estimator, POLICY.log()), gradient(divergence, POLICY.log()))


def adapted(kl: float, *, num_responses: int = 1000) -> float:
    return adapted_coefficient(0.5, kl, target=2.0, horizon=10_000, num_responses=num_responses)


@pytest.mark.parametrize(
    ("kl", "coefficient"),
    [
        (2.0, 0.5),
        (2.2, 0.5 * 1.01),  # a tenth too much, of which a tenth of the horizon
        (1.8, 0.5 * 0.99),
        (2.4, 0.5 * 1.02),
        (900.0, 0.5 * 1.02),  # no more than a fifth counts
        (0.0, 0.5 * 0.98),
        (-3.0, 0.5 * 0.98),
    ],
)
def test_the_coefficient_rises_above_the_target_and_falls_below_it_within_bounds(kl: float, coefficient: float) -> None:
    assert adapted(kl) == pytest.approx(coefficient)


@pytest.mark.parametrize("kl", [math.nan, math.inf, -math.inf])
def test_a_divergence_that_is_not_finite_says_nothing(kl: float) -> None:
    assert adapted(kl) == 0.5


def test_a_step_of_many_horizons_adapts_as_one_and_never_turns_the_sign() -> None:
    assert adapted(0.0, num_responses=10_000) == adapted(0.0, num_responses=100_000) == pytest.approx(0.4)
    assert adapted(9.0, num_responses=100_000) == pytest.approx(0.6)
