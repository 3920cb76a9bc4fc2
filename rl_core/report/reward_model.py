"""The section on the run's own reward model: what it learned from, and whether length is all that it learned."""

from collections.abc import Mapping
from typing import Any

from rl_core.report.document import Block, Heading, Paragraph, Strong, Table
from rl_core.report.facts import Interval, RunFacts
from rl_core.report.wording import ABSENT, count, interval, percent

TOLD = (
    "Which of two answers to one problem is better: measured on pairs of problems that the reward model was not "
    "trained on. Intervals are over problems. Were length enough to tell, the rows on length would come near to the "
    "first; with lengths matched a model that knows nothing but length falls to 0.5."
)
ACCURACIES = (
    ("all held-out pairs", ("accuracy",)),
    ("both answers from the model", ("accuracy_both_from_model",)),
    ("the data set's solution chosen", ("accuracy_solution_chosen",)),
    ("lengths within a factor of {ratio:g}", ("accuracy_length_matched",)),
    ("instead of the model: the longer answer", ("length", "longer_wins")),
    ("instead of the model: the best rule of lengths", ("length", "baseline")),
)


def reward_model(facts: RunFacts) -> list[Block]:
    """Nothing where the run has none of its own, or has not finished its training."""
    summary = facts.reward_model
    if summary is None:
        return []
    held_out, length = summary["held_out"], summary["held_out"]["length"]
    ratio = held_out["accuracy_length_matched"]["max_length_ratio"]
    rows = []
    for label, path in ACCURACIES:
        found: Mapping[str, Any] = held_out
        for name in path:
            found = found[name]
        rows.append(
            [label.format(ratio=ratio), _interval(found), count(found["num_pairs"]), count(found["num_problems"])]
        )
    pairs, scores = summary["pairs"]["train"], summary["scores"]
    learned = (
        f"It learned from {count(pairs['pairs'])} pairs of {count(pairs['problems'])} problems, "
        f"{percent(pairs['solution_chosen_fraction'])} of them with the data set's solution as the better answer, in "
        f"{count(summary['steps'])} updates. The rank correlation of its scores with the length of answers is "
        f"{_correlation(length['score_correlation'])}, that of the differences within a pair "
        f"{_correlation(length['margin_correlation'])}. Scores on held-out pairs have mean {scores['mean']:.3f} and "
        f"standard deviation {scores['std']:.3f}."
    )
    return [
        Heading(2, "Reward model"),
        Paragraph([TOLD]),
        Table(["which answer is better", "right, 95 % interval", "pairs", "problems"], rows),
        Paragraph([_verdict(held_out)]),
        Paragraph([learned]),
        *_calibration(held_out["calibration_by_length"]),
    ]


def _verdict(held_out: Mapping[str, Any]) -> Strong:
    above = held_out["length"]["above_baseline"]
    shown = interval(Interval(above["value"], above["low"], above["high"]), signed=True)
    if held_out["more_than_length"]:
        return Strong(f"It knows more than length: right more often than the best rule of lengths by {shown}.")
    return Strong(
        f"It is not told from a rule of lengths: right more often than the best of them by {shown}, and with lengths "
        "matched as above. What it rewards may be length."
    )


def _calibration(rows: list[Mapping[str, Any]]) -> list[Block]:
    if not rows:
        return []
    told = (
        "By length: how often the longer answer of a pair is the better one, as the reward model has it (the mean of "
        "its probabilities) and as it is."
    )
    table = [
        [f"{row['low']:g} to {row['high']:g}", f"{row['predicted']:.3f}", _interval(row["observed"])] for row in rows
    ]
    return [Paragraph([told]), Table(["mean tokens of the two", "by the model", "observed"], table)]


def _interval(found: Mapping[str, Any]) -> str:
    return interval(None if found["value"] is None else Interval(found["value"], found["low"], found["high"]))


def _correlation(value: float | None) -> str:
    return ABSENT if value is None else f"{value:+.2f}"
