"""Of a run that is the toy size of a recipe: that it is, and what was scaled."""

from rl_core.report.document import Block, Code, Heading, Paragraph, Strong, Table
from rl_core.report.facts import RunFacts

ALL_TEXT = frozenset(range(4))


def rehearsal_note(facts: RunFacts) -> list[Block]:
    """The sentence that stands above everything else; nothing for a run that is no rehearsal."""
    rehearses = facts.config.rehearses
    if rehearses is None:
        return []
    told = (
        " at toy size, on the project's own task and model: it shows that the parts of the recipe work together. What "
        "the toy model scores says nothing of what the recipe reaches."
    )
    return [Paragraph([Strong(f"A rehearsal of {rehearses.recipe}"), told])]


def scaled_settings(facts: RunFacts) -> list[Block]:
    """Every setting that is other than the recipe's; nothing for a run that is no rehearsal."""
    rehearses = facts.config.rehearses
    if rehearses is None:
        return []
    rows = [[Code(one.field), one.recipe, one.rehearsal, one.why] for one in rehearses.scaled]
    sentence = "Everything else is as in the recipe. Scaled for the rehearsal:"
    return [
        Heading(2, "What was scaled"),
        Paragraph([sentence]),
        Table(["setting", f"{rehearses.recipe}", "here", "why"], rows, ALL_TEXT),
    ]
