import pytest
import torch

from rl_core.errors import GuardStop
from rl_core.rollout.fingerprint import require_equal, tensor_fingerprint


def test_by_hand() -> None:
    assert tensor_fingerprint(torch.tensor([[1.0, 2.0], [0.5, -1.0]])) == 1 * 1 + 2 * 2 + 0.5 * 3 - 1 * 4
    assert tensor_fingerprint(torch.ones(9)) == 1 + 2 + 3 + 4 + 5 + 6 + 7 + 1 + 2
    assert tensor_fingerprint(torch.zeros(0)) == 0


def test_a_changed_or_moved_value_shows() -> None:
    torch.manual_seed(0)
    weight = torch.randn(40, 30)
    known = tensor_fingerprint(weight)
    assert tensor_fingerprint(weight.clone()) == known
    changed = weight.clone()
    changed[17, 3] += 1e-6
    assert tensor_fingerprint(changed) != known
    for moved in (weight.T.contiguous(), weight.flip(0), weight.roll(1), weight[torch.randperm(40)]):
        assert tensor_fingerprint(moved) != known


def test_values_of_bfloat16_are_summed_without_rounding() -> None:
    assert tensor_fingerprint(torch.full((700,), 0.00390625, dtype=torch.bfloat16)) == 700 * 4 * 0.00390625


def test_what_differs_is_named_and_stops_the_run() -> None:
    learner = {"a": 1.0, "b": 2.0, "c": 3.0}
    require_equal(learner, dict(learner), policy_version=4)
    with pytest.raises(GuardStop, match=r"policy version 4: 2 of 3 tensors differ, first b"):
        require_equal(learner, {"a": 1.0, "b": 2.5}, policy_version=4)
    with pytest.raises(GuardStop, match="first a"):
        require_equal({"a": float("nan")}, {"a": float("nan")}, policy_version=4)
