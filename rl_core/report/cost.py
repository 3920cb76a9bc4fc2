"""What a run took: time and devices of each part, and what that costs where a price is given."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rl_core.report.document import Block, Heading, Paragraph, Strong, Table
from rl_core.report.facts import RunFacts, Work
from rl_core.report.wording import ABSENT, count, duration, gibibytes, listed
from rl_core.work import UNDER_WAY

WHOLE_FROM = 1000  # of the currency: from there on its hundredths say nothing


def cost_table(facts: RunFacts) -> list[Block]:
    """One row for each part that was worked on, in the order in which it began."""
    if not facts.work:
        return []
    parts = {work.part: [other for other in facts.work if other.part == work.part] for work in facts.work}
    rows = [_row(part, works, facts) for part, works in parts.items()]
    priced = facts.config.report.price_per_device_hour is not None
    headers = ["part", "processes", "time", "share", f"{device_unit(facts)} hours", *(["cost"] if priced else [])]
    total = [Strong(cell) for cell in _row("all parts", facts.work, facts)]
    return [Heading(2, "Time and cost"), Paragraph([_told(facts)]), Table(headers, [*rows, total])]


def total_seconds(facts: RunFacts) -> float:
    return sum(work.seconds for work in facts.work)


def device_hours(facts: RunFacts) -> float:
    return sum(work.device_hours for work in facts.work)


def cost(hours: float, facts: RunFacts) -> str:
    """Of so many device hours, in the currency of the recipe; absent where no price is given."""
    price, currency = facts.config.report.price_per_device_hour, facts.config.report.currency
    if price is None:
        return ABSENT
    total = hours * price
    return f"{total:,.{0 if total >= WHOLE_FROM else 2}f} {currency}"


def device_unit(facts: RunFacts) -> str:
    """What the hours are counted in."""
    return "device" if any(work.hardware.num_accelerators for work in facts.work) else "machine"


def hardware(facts: RunFacts) -> list[str]:
    """Every kind of hardware that worked on the run, in words."""
    return list(dict.fromkeys(_hardware(work) for work in facts.work))


def started_and_ended(facts: RunFacts) -> tuple[str, str]:
    """When the first process began and the last one ended, UTC."""
    begun = [datetime.fromisoformat(work.started_at) for work in facts.work]
    ended = [start + timedelta(seconds=work.seconds) for start, work in zip(begun, facts.work, strict=True)]
    return f"{min(begun):%Y-%m-%d %H:%M}", f"{max(ended):%Y-%m-%d %H:%M}"


def _row(part: str, works: Sequence[Work], facts: RunFacts) -> list[str]:
    seconds, hours = sum(work.seconds for work in works), sum(work.device_hours for work in works)
    total = total_seconds(facts)
    row = [part, count(len(works)), duration(seconds), f"{seconds / total:.0%}" if total else ABSENT, f"{hours:,.2f}"]
    return [*row, *([cost(hours, facts)] if facts.config.report.price_per_device_hour is not None else [])]


def _told(facts: RunFacts) -> str:
    price, currency = facts.config.report.price_per_device_hour, facts.config.report.currency
    unit = device_unit(facts)
    told = f"From the start of each process to its end, whatever it did meanwhile. Of {listed(hardware(facts))}"
    if price is None:
        told += f"; no price is given (report.price_per_device_hour), so there are {unit} hours alone."
    else:
        told += f", at {price:,.2f} {currency} for a {unit} hour."
    lost = sum(work.status == UNDER_WAY for work in facts.work)
    if lost:
        told += (
            f" {count(lost)} of the processes left no end, as one does that is killed or is still at work: of each, up "
            "to half a minute is missing."
        )
    return told


def _hardware(work: Work) -> str:
    machine = work.hardware
    hosts = f"{machine.num_hosts} hosts, each with " if machine.num_hosts > 1 else ""
    cores = f"{machine.num_cores} cores of {machine.processor}, {gibibytes(machine.memory_bytes)} of memory"
    accelerators = f"{machine.num_accelerators} x {machine.accelerator}, " if machine.accelerator else ""
    return hosts + accelerators + cores
