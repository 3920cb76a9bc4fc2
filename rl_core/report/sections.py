"""The order of a report: the answer first, then the curves, the tables, and everything it stands on."""

from collections.abc import Set

from rl_core.report.document import Block, Heading, Picture
from rl_core.report.facts import RunFacts
from rl_core.report.headline import headline
from rl_core.report.plots import EVALUATION, LENGTHS, TRAINING
from rl_core.report.provenance import data, promotions, protocol, provenance
from rl_core.report.rehearsal import rehearsal_note, scaled_settings
from rl_core.report.results import responses, results_table
from rl_core.report.stages import later_limits, stage_table, time_table

PICTURES = (
    Picture(
        EVALUATION,
        "Held-out pass@1 by training step",
        "Held-out problems solved, by training step: the base model and the model after each stage under the protocol "
        "of the evaluation, with 95 % intervals; between them the validation while training.",
    ),
    Picture(
        TRAINING,
        "Reward by training step",
        "Mean reward of the responses of each step, and on the fixed probe problems. Each batch holds other problems, "
        "so that single steps scatter; the probe does not change.",
    ),
    Picture(
        LENGTHS,
        "Length of responses by training step",
        "Tokens of a response, with the limit of each stage, and the share of responses cut off by it.",
    ),
)


def report_blocks(facts: RunFacts, pictures: Set[str]) -> list[Block]:
    """The whole report.

    Args:
        pictures: names of those that could be drawn.
    """
    shown = {picture.name: [picture] if picture.name in pictures else [] for picture in PICTURES}
    return [
        Heading(1, f"{facts.config.name}: report"),
        *rehearsal_note(facts),
        *headline(facts),
        *shown[EVALUATION],
        Heading(2, "Results"),
        *results_table(facts),
        Heading(2, "Training"),
        *shown[TRAINING],
        *shown[LENGTHS],
        *stage_table(facts),
        *later_limits(facts),
        *time_table(facts),
        *responses(facts),
        *data(facts),
        *promotions(facts),
        *protocol(facts),
        *scaled_settings(facts),
        *provenance(facts),
    ]
