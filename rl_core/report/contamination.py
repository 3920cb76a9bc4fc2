"""Whether the models were asked problems that the run also trained on: what is right there may be memory."""

from rl_core.report.document import Block, Paragraph
from rl_core.report.facts import RunFacts
from rl_core.report.wording import listed

UNKNOWN = "; what the base model was made from is not known here"


def contamination(facts: RunFacts) -> list[Block]:
    """Which benchmarks share problems with the training, or that none does; nothing where it was not looked at."""
    evaluations = [one for model in facts.models for one in (model.evaluation, *model.further)]
    asked = {one.dataset_digest: one for one in evaluations if one.num_trained is not None}
    if not asked:
        return []
    shared = [
        f"{one.num_trained:,} of {one.num_problems:,} of {one.benchmark}" for one in asked.values() if one.num_trained
    ]
    told = (
        f"Of these problems the run also trained on {listed(shared)}: what is right there may be memory. "
        if shared
        else "None of these problems is among those that the run trained on. "
    )
    base = "" if facts.config.policy.model_name == "embedded" else UNKNOWN
    return [Paragraph([f"{told}Problems are compared as text{base}."])]
