"""The order of a report: the answer first, then the curves, the tables, and everything it stands on."""

from collections.abc import Set
from dataclasses import replace

from rl_core.report.contamination import contamination
from rl_core.report.cost import cost_table
from rl_core.report.document import Block, Heading, Picture
from rl_core.report.facts import RunFacts
from rl_core.report.fine_tuning import fine_tuning
from rl_core.report.headline import headline
from rl_core.report.overview import key_figures, what_ran
from rl_core.report.plots import DYNAMICS, EVALUATION, LENGTHS, TRAINING
from rl_core.report.promotions import promotions
from rl_core.report.provenance import data, protocol, provenance
from rl_core.report.references import caption
from rl_core.report.rehearsal import rehearsal_note, scaled_settings
from rl_core.report.results import further_benchmarks, responses, results_table
from rl_core.report.reward_model import reward_model
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
    Picture(
        DYNAMICS,
        "Entropy and the sampler's disagreement by training step",
        "Above: entropy of the policy's next token; one that falls to nothing has stopped exploring. Below: the factor "
        "between the probabilities that sampler and trainer give the same token; 1 is agreement.",
    ),
)


def report_blocks(facts: RunFacts, pictures: Set[str]) -> list[Block]:
    """The whole report.

    Args:
        pictures: names of those that could be drawn.
    """
    captions = {EVALUATION: caption(facts)}
    shown = {
        picture.name: [replace(picture, caption=picture.caption + captions.get(picture.name, ""))]
        if picture.name in pictures
        else []
        for picture in PICTURES
    }
    return [
        Heading(1, f"{facts.config.name}: report"),
        *rehearsal_note(facts),
        *key_figures(facts),
        *headline(facts),
        *shown[EVALUATION],
        Heading(2, "Results"),
        *results_table(facts),
        *further_benchmarks(facts),
        *contamination(facts),
        *what_ran(facts),
        *reward_model(facts),
        Heading(2, "Training"),
        *fine_tuning(facts),
        *shown[TRAINING],
        *shown[LENGTHS],
        *shown[DYNAMICS],
        *stage_table(facts),
        *later_limits(facts),
        *promotions(facts),
        *cost_table(facts),
        *time_table(facts),
        *responses(facts),
        *data(facts),
        *protocol(facts),
        *scaled_settings(facts),
        *provenance(facts),
    ]
