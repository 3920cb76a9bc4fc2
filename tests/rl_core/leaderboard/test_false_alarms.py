import pytest

from rl_core.leaderboard.false_alarms import adjusted, best_of

ROUNDING = 1e-12


def test_the_best_of_many_asks_for_more() -> None:
    assert best_of(0.01, 3) == pytest.approx(0.03, abs=ROUNDING)
    assert best_of(0.5, 3) == 1.0


def test_holms_adjustment_by_hand() -> None:
    # sorted: 0.01 * 4, 0.02 * 3, 0.025 * 2 (below the one before, so raised to it), 0.2
    assert adjusted([0.2, 0.01, 0.025, 0.02]) == pytest.approx([0.2, 0.04, 0.06, 0.06], abs=ROUNDING)
    assert adjusted([]) == []
