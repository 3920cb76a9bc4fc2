"""What is said of a reward model: cases worked out by hand, and reward models that know length alone, or all but it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_core.preference.measures import (
    NUM_BINS,
    RIDGE,
    ScoredPairs,
    calibration,
    fit_length_rule,
    length_features,
    measures,
    over_problems,
    rank_correlation,
    wins,
)

ROUNDING = 1e-9
MANY = 2000


def pairs(*rows: tuple[int, float, float, int, int], from_model: list[bool] | None = None) -> ScoredPairs:
    """Rows of problem, scores of chosen and rejected, tokens of chosen and rejected."""
    problems, chosen, rejected, chosen_tokens, rejected_tokens = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return ScoredPairs(
        problems.astype(np.int64),
        chosen.astype(np.float64),
        rejected.astype(np.float64),
        chosen_tokens.astype(np.float64),
        rejected_tokens.astype(np.float64),
        np.array([True] * len(rows) if from_model is None else from_model),
    )


def drawn(seed: int, *, score_of_quality: float, score_of_length: float, longer_wins: float = 0.5) -> ScoredPairs:
    """Many pairs whose scores follow who is better, and the length, with noise."""
    random = np.random.default_rng(seed)
    tokens = random.integers(20, 200, (2, MANY)).astype(np.float64)
    swap = (tokens[0] > tokens[1]) != (random.random(MANY) < longer_wins)
    tokens[:, swap] = tokens[::-1, swap]
    noise = random.normal(size=(2, MANY))
    scores = noise + score_of_length * tokens / 50
    return ScoredPairs(
        np.arange(MANY), scores[0] + score_of_quality, scores[1], tokens[0], tokens[1], np.ones(MANY, bool)
    )


def test_a_tie_is_half_a_win_and_a_problem_counts_once_however_many_pairs_it_has() -> None:
    assert wins(np.array([0.1, -2.0, 0.0])).tolist() == [1.0, 0.0, 0.5]
    found = over_problems(np.array([1.0, 0.0, 0.0, 1.0]), np.array([7, 7, 7, 9]))
    assert found["value"] == pytest.approx((1 / 3 + 1) / 2)
    assert (found["num_pairs"], found["num_problems"]) == (4, 2)
    assert found["low"] < found["value"] < found["high"]


def test_each_kind_of_pair_has_its_own_accuracy_and_one_that_is_not_there_has_none() -> None:
    held_out = pairs((1, 1, 0, 10, 10), (2, 0, 1, 10, 20), (3, 2, 1, 30, 10), from_model=[True, True, False])
    found = measures(held_out, held_out, matched_ratio=1.5)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["accuracy_both_from_model"]["value"] == 0.5
    assert found["accuracy_solution_chosen"]["value"] == 1.0
    assert found["accuracy_length_matched"]["num_pairs"] == 1
    assert found["accuracy_length_matched"]["value"] == 1.0
    assert found["length"]["longer_wins"]["value"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert found["loss"] == pytest.approx(np.log1p(np.exp([-1, 1, -1])).mean())
    nothing = measures(held_out.where(held_out.from_model), held_out, matched_ratio=1.5)["accuracy_solution_chosen"]
    assert nothing == {"value": None, "low": None, "high": None, "num_pairs": 0, "num_problems": 0}


def test_a_model_that_knows_length_alone_is_found_out() -> None:
    train, held_out = (drawn(seed, score_of_quality=0, score_of_length=3, longer_wins=0.9) for seed in (0, 1))
    found = measures(held_out, train, matched_ratio=1.1)
    assert found["accuracy"]["value"] > 0.8
    assert found["length"]["baseline"]["value"] == pytest.approx(0.9, abs=0.03)
    assert found["length"]["longer_wins"]["value"] == pytest.approx(0.9, abs=0.03)
    assert found["length"]["score_correlation"] > 0.9
    assert found["length"]["margin_correlation"] > 0.8
    assert found["accuracy_length_matched"]["value"] < found["accuracy"]["value"] - 0.1
    assert not found["more_than_length"]
    assert found["length"]["above_baseline"]["low"] <= 0


def test_a_model_that_knows_all_but_length_is_cleared() -> None:
    train, held_out = (drawn(seed, score_of_quality=2, score_of_length=0) for seed in (0, 1))
    found = measures(held_out, train, matched_ratio=1.1)
    assert found["accuracy"]["low"] > 0.85
    assert found["accuracy_length_matched"]["value"] == pytest.approx(found["accuracy"]["value"], abs=0.06)
    assert found["length"]["baseline"]["low"] < 0.5 < found["length"]["baseline"]["high"]
    assert abs(found["length"]["score_correlation"]) < 0.05
    assert found["more_than_length"]
    above = found["accuracy"]["value"] - found["length"]["baseline"]["value"]
    assert found["length"]["above_baseline"]["value"] == pytest.approx(above)
    unknown = measures(held_out.where(held_out.length_ratios > 1.1), train, matched_ratio=1.1)
    assert not unknown["more_than_length"], "with no pair of like lengths nothing is shown"


def test_what_agrees_with_the_rule_of_length_everywhere_may_be_better_or_worse_elsewhere() -> None:
    held_out = pairs(*((problem, 1, 0, 20, 10) for problem in range(5)))
    above = measures(held_out, held_out, matched_ratio=1.1)["length"]["above_baseline"]
    assert above["value"] == 0
    assert above["low"] == pytest.approx(-above["high"])
    assert above["high"] > 0


def test_the_rule_of_length_learns_that_the_shorter_wins() -> None:
    train, held_out = (drawn(seed, score_of_quality=0, score_of_length=0, longer_wins=0.1) for seed in (0, 1))
    found = measures(held_out, train, matched_ratio=1.1)["length"]
    assert found["longer_wins"]["value"] == pytest.approx(0.1, abs=0.03)
    assert found["baseline"]["value"] == pytest.approx(0.9, abs=0.03)


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), min_size=1, max_size=30))
def test_the_rule_of_length_is_where_its_objective_is_flat(lengths: list[tuple[int, int]]) -> None:
    found = pairs(*((0, 0.0, 0.0, one, other) for one, other in lengths))
    features, weights = length_features(found), fit_length_rule(found)
    gradient = features.T @ (1 / (1 + np.exp(features @ weights))) / len(features) - RIDGE * weights
    assert np.abs(gradient).max() < ROUNDING


def test_the_correlation_is_spearmans_and_none_where_nothing_varies() -> None:
    one, other = np.array([1.0, 5.0, 2.0, 2.0]), np.array([10.0, 1e9, 11.0, 30.0])
    # Ranks 1, 4, 2.5, 2.5 and 1, 4, 2, 3: Pearson's of these, by hand.
    assert rank_correlation(one, other) == pytest.approx(4.5 / np.sqrt(4.5 * 5.0))
    assert rank_correlation(one, np.ones(4)) is None
    assert rank_correlation(one[:1], other[:1]) is None


def test_a_model_whose_probabilities_are_right_is_calibrated_and_one_that_boasts_is_not() -> None:
    random = np.random.default_rng(0)
    margins = random.normal(scale=2, size=MANY)  # of a first response over a second
    first_wins = random.random(MANY) < 1 / (1 + np.exp(-margins))
    first, second = np.full(MANY, 100.0), np.full(MANY, 50.0)  # the first one is the longer
    held_out = ScoredPairs(
        np.arange(MANY), np.where(first_wins, margins, 0.0), np.where(first_wins, 0.0, margins),
        np.where(first_wins, first, second), np.where(first_wins, second, first), np.ones(MANY, bool),
    )  # fmt: skip
    found = measures(held_out, held_out, matched_ratio=1.1)
    assert len(found["calibration_by_confidence"]) == NUM_BINS
    for row in found["calibration_by_confidence"]:
        assert row["observed"]["low"] - 0.03 < row["predicted"] < row["observed"]["high"] + 0.03
    # All lengths are alike here, so that there is one bin.
    (row,) = found["calibration_by_length"]
    assert row["predicted"] == pytest.approx(row["observed"]["value"], abs=0.03)
    boasting = ScoredPairs(
        held_out.problems, 5 * held_out.chosen_scores, 5 * held_out.rejected_scores,
        held_out.chosen_tokens, held_out.rejected_tokens, held_out.from_model,
    )  # fmt: skip
    first_bin = measures(boasting, boasting, matched_ratio=1.1)["calibration_by_confidence"][1]
    assert first_bin["predicted"] > first_bin["observed"]["high"]


def test_bins_hold_as_many_pairs_each_in_order_and_those_seen_from_neither_side_are_left_out() -> None:
    rows = [(number, 1.0, 0.0, number + 2, number + 1) for number in range(20)]
    ordered = pairs(*rows, (99, 1.0, 0.0, 7, 7))
    found = calibration(ordered, by=lambda p: p.chosen_tokens, of=lambda p: p.chosen_tokens - p.rejected_tokens)
    assert [row["observed"]["num_pairs"] for row in found] == [4] * NUM_BINS
    assert [(row["low"], row["high"]) for row in found] == [(2, 5), (6, 9), (10, 13), (14, 17), (18, 21)]
    assert calibration(ordered, by=lambda p: p.chosen_tokens, of=lambda p: 0 * p.chosen_tokens) == []
