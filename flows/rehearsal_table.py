"""`--rehearse`: what of a recipe is scaled, what is kept, and what to expect, before it runs."""

from rich.markup import escape
from rich.table import Table

from flows.plan_table import console
from rl_core.config.rehearsal import Rehearsal


def print_rehearsal(rehearsal: Rehearsal) -> None:
    """Print every setting that is scaled, with the reason, and by section those that are kept."""
    output = console()
    assert rehearsal.config.rehearses is not None, "what a rehearsal is of is in its configuration"
    scaled = Table("setting", "recipe", "rehearsal", "why", title="Scaled", title_justify="left")
    for change in rehearsal.scaled:
        scaled.add_row(*map(escape, (change.field, change.recipe, change.rehearsal, change.why)))
    kept = Table("section", "as the recipe says", title="Kept, with every setting left to its default")
    kept.title_justify = "left"
    for section, settings in rehearsal.kept.items():
        kept.add_row(section, escape(settings))
    recipe = rehearsal.config.rehearses.recipe
    output.print(f"rehearsal of {recipe}, at toy size: it needs no accelerator", highlight=False)
    output.print(scaled, kept)
    for sentence in rehearsal.expectations:
        output.print(escape(sentence), highlight=False)
