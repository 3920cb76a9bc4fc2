import pytest

from benchmarks.step_parts import PARTS, parts


def test_the_rest_is_what_no_part_accounts_for() -> None:
    zero = {f"{part}_seconds": 0.0 for part in PARTS}
    steps = [
        {**zero, "step_seconds": 1.0, "generate_seconds": 0.4, "train_seconds": 0.5, "tokens_per_second": 100.0},
        {**zero, "step_seconds": 2.0, "generate_seconds": 0.6, "save_seconds": 1.0, "tokens_per_second": 50.0},
    ]
    row = parts(steps)
    assert row["mean"] == 1.5
    assert row["generate"] == pytest.approx(0.5)
    assert row["save"] == pytest.approx(0.5)
    assert row["rest"] == pytest.approx(1.5 - 0.5 - 0.25 - 0.5)
    assert row["tokens/s"] == 75.0
