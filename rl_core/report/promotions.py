"""Which checkpoint of each stage went on to the next, and why."""

from collections.abc import Mapping
from typing import Any

from rl_core.report.document import Block, Code, Heading, Paragraph, Table
from rl_core.report.facts import RunFacts, StageFacts
from rl_core.report.wording import ABSENT, listed, plain

ALL_TEXT = frozenset({0, 2, 3, 4})
TOLD = (
    "Of each finished stage: the step whose model went on to the next, what decided that, and the numbers that it was "
    "decided on."
)


def promotions(facts: RunFacts) -> list[Block]:
    """One row for each finished stage."""
    decided = [(stage, (stage.summary or {}).get("promotion")) for stage in facts.stages]
    rows = [_row(stage, promotion) for stage, promotion in decided if promotion]
    headers = ["stage", "step", "decided by", "on", "goes on as"]
    return [Heading(2, "Promotions"), Paragraph([TOLD]), Table(headers, rows, ALL_TEXT)] if rows else []


def _row(stage: StageFacts, promotion: Mapping[str, Any]) -> list[str]:
    numbers = listed([f"{name} {plain(value)}" for name, value in promotion.get("numbers", {}).items()])
    digest = (stage.model or {}).get("digest")
    decision = str(promotion.get("decision", ABSENT))
    why = promotion.get("reason")
    return [
        stage.name,
        str(promotion.get("step", ABSENT)),
        f"{decision}: {why}" if why else decision,
        numbers or ABSENT,
        Code(str(digest)) if digest else ABSENT,
    ]
