import struct

import pytest
import torch

from rl_core.errors import GuardStop
from rl_core.rollout.fingerprint import FACTOR, require_equal, summed, tensor_fingerprint


def signed(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def bits(value: float) -> int:
    return int(struct.unpack("<i", struct.pack("<f", value))[0])


def test_by_hand() -> None:
    values = (1.0, 2.0, 0.5, -1.0)
    by_hand = signed(sum(bits(value) * (FACTOR * place + 1) for place, value in enumerate(values)))
    assert tensor_fingerprint(torch.tensor(values)) == by_hand
    assert tensor_fingerprint(torch.tensor(values).reshape(2, 2)) == by_hand
    assert tensor_fingerprint(torch.zeros(0)) == 0


def test_a_changed_or_moved_value_shows() -> None:
    torch.manual_seed(0)
    weight = torch.randn(40, 30)
    known = tensor_fingerprint(weight)
    assert tensor_fingerprint(weight.clone()) == known
    changed = weight.clone()
    changed[17, 3] = torch.nextafter(changed[17, 3], torch.tensor(9.0))
    assert tensor_fingerprint(changed) != known
    for moved in (weight.T.contiguous(), weight.flip(0), weight.roll(1), weight[torch.randperm(40)]):
        assert tensor_fingerprint(moved) != known


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_parts_add_up_to_the_whole_however_it_is_cut(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = torch.randn(12, 10).to(dtype)
    known = tensor_fingerprint(weight)
    rows = [tensor_fingerprint(weight[start : start + 5], first_row=start) for start in (0, 5, 10)]
    columns = [tensor_fingerprint(weight[:, start : start + 4], columns=10, first_column=start) for start in (0, 4, 8)]
    for parts in (rows, columns):
        assert summed({"w": part} for part in parts) == {"w": known}


def test_large_tensors_are_taken_in_chunks_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(50, 7)
    known = tensor_fingerprint(weight)
    monkeypatch.setattr("rl_core.rollout.fingerprint.CHUNK_ELEMENTS", 20)
    assert tensor_fingerprint(weight) == known


def test_minus_zero_is_zero() -> None:
    assert tensor_fingerprint(torch.tensor([-0.0, 1.0])) == tensor_fingerprint(torch.tensor([0.0, 1.0]))


def test_what_differs_is_named_and_stops_the_run() -> None:
    learner = {"a": 1, "b": 2, "c": 3}
    require_equal(learner, dict(learner), policy_version=4)
    with pytest.raises(GuardStop, match=r"policy version 4: 2 of 3 tensors differ, first b"):
        require_equal(learner, {"a": 1, "b": 5}, policy_version=4)
