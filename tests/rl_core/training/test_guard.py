"""When the guard objects: to one step's divergence, to the middle of ten errors, to what is not a number."""

import math

import pytest

from rl_core.config.training import GuardConfig
from rl_core.training.guard import SamplerGuard


def figures(error: float | None = 1.0001, kl: float | None = 1e-8) -> dict[str, float | None]:
    return {"sampler_logprob_error_mean": error, "sampler_kl": kl}


def test_the_bounds_are_nemo_rls_unless_set_otherwise() -> None:
    assert (GuardConfig().max_sampler_logprob_error, GuardConfig().max_sampler_kl) == (1.05, 5e-4)


def test_one_step_past_the_bound_on_the_divergence_is_enough() -> None:
    guard = SamplerGuard(GuardConfig())
    assert guard.objection(figures(kl=5e-4)) is None
    assert guard.objection(figures(kl=5.1e-4)) == "sampler_kl is 0.00051, above guard.max_sampler_kl 0.0005"


def test_the_error_may_pass_its_bound_in_less_than_half_of_the_last_ten_steps() -> None:
    guard = SamplerGuard(GuardConfig())
    objections = [guard.objection(figures(error)) for error in [1.01] * 10 + [1.2] * 6]
    assert objections[:15] == [None] * 15
    assert objections[15] == (
        "the median of sampler_logprob_error_mean over the last 10 steps is 1.2, "
        "above guard.max_sampler_logprob_error 1.05"
    )


def test_a_run_whose_first_step_is_past_the_bound_on_the_error_stops_there() -> None:
    objection = SamplerGuard(GuardConfig()).objection(figures(1.06))
    assert objection is not None
    assert "over the last 1 steps is 1.06" in objection


def test_a_guard_that_is_told_of_the_steps_before_judges_as_one_that_saw_them() -> None:
    errors = [1.01, None, 1.2, 1.2, 1.01, 1.2]
    saw, told = SamplerGuard(GuardConfig()), SamplerGuard(GuardConfig())
    for error in errors[:-1]:
        saw.objection(figures(error))
    told.remember(errors[:-1])
    verdicts = {guard.objection(figures(errors[-1])) for guard in (saw, told)}
    assert len(verdicts) == 1
    assert None not in verdicts


@pytest.mark.parametrize("broken", [figures(error=math.nan), figures(kl=math.nan), figures(kl=math.inf)])
def test_what_is_not_a_number_passes_every_bound(broken: dict[str, float | None]) -> None:
    guard = SamplerGuard(GuardConfig())
    for _ in range(10):
        assert guard.objection(figures()) is None
    assert guard.objection(broken) is not None


def test_null_is_no_bound() -> None:
    guard = SamplerGuard(GuardConfig(max_sampler_kl=None, max_sampler_logprob_error=None))
    assert guard.objection(figures(error=9.0, kl=9.0)) is None


def test_a_step_without_trained_tokens_is_passed_over() -> None:
    assert SamplerGuard(GuardConfig()).objection(figures(None, None)) is None
