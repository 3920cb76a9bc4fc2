"""Regressions as Prefect events, which an automation can act on."""

import time
from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventIDFilter

from rl_core.leaderboard.alarms import Alarm
from rl_core.manifest import digest_of
from tasks.display import say

EVENT = "deepscaler.evaluation.regression"
RESOURCE = "deepscaler.checkpoint"
PATIENCE_SECONDS = 30.0  # a server writes what it was sent every five seconds
POLL_SECONDS = 1.0
PAGE = 50  # events at most in one of the server's answers


def emit_regressions(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Send an event for each; those that the server has. One that it has not in time is told by the next pass.

    Prefect says only that an event waits to be sent, so each is read back. An alarm's event has the same id in every
    pass, so that one that arrived after all, or whose pass was killed before it noted so, is no second one.
    """
    events = {_event_id(alarm): alarm for alarm in alarms}
    there = _recorded(list(events))
    sent = {
        event_id
        for event_id, alarm in events.items()
        if event_id not in there
        and emit_event(EVENT, _resource(alarm), payload=_payload(alarm), id=event_id) is not None
    }
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not sent <= there and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        there |= _recorded(list(sent - there))
    if len(there) < len(events):
        say(f"{len(events) - len(there)} events did not reach the server; the next pass sends them again")
    return [alarm for event_id, alarm in events.items() if event_id in there]


def _event_id(alarm: Alarm) -> UUID:
    return uuid5(NAMESPACE_URL, f"{EVENT}/{digest_of([*alarm.key, alarm.judged_at])}")


def _recorded(ids: Sequence[UUID]) -> set[UUID]:
    """Which of these events the server has; none where it cannot be asked."""
    found: set[UUID] = set()
    try:
        with get_client(sync_client=True) as client:
            for start in range(0, len(ids), PAGE):
                asked = EventFilter(id=EventIDFilter(id=list(ids[start : start + PAGE])))
                found |= {event.id for event in client.read_events(asked, limit=PAGE).events}
    except httpx.HTTPError:
        return set()
    return found


def _resource(alarm: Alarm) -> dict[str, str]:
    """The model, by its run and its digest; the labels are what an automation can match on."""
    return {
        "prefect.resource.id": f"{RESOURCE}.{alarm.series}.{alarm.model_digest}",
        "prefect.resource.name": f"{alarm.series}: {alarm.model}",
        "deepscaler.series": alarm.series,
        "deepscaler.model": alarm.model,
        "deepscaler.benchmark": alarm.benchmark,
    }


def _payload(alarm: Alarm) -> dict[str, object]:
    return {
        "sentence": alarm.sentence,
        "worse_than": alarm.worse_than,
        "pass_at_1": alarm.pass_at_1,
        "difference": alarm.difference,
        "adjusted_p_value": alarm.adjusted_p_value,
        "false_alarm_rate": alarm.false_alarm_rate,
        "protocol_digest": alarm.protocol_digest,
        "dataset_digest": alarm.dataset_digest,
        "judged_at": alarm.judged_at,
    }
