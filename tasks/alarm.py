"""Regressions as Prefect events, which an automation can act on."""

from collections.abc import Sequence

from prefect.events import emit_event
from prefect.events.worker import EventsWorker

from rl_core.leaderboard.alarms import Alarm
from tasks.display import say

EVENT = "deepscaler.evaluation.regression"
RESOURCE = "deepscaler.checkpoint"


def emit_regressions(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Send an event for each; those that were handed to the server. One that was not is told by the next pass."""
    sent = [alarm for alarm in alarms if emit_event(EVENT, _resource(alarm), payload=_payload(alarm)) is not None]
    if len(sent) < len(alarms):
        say(f"{len(alarms) - len(sent)} events could not be sent; the next pass tries again")
    if sent:
        EventsWorker.instance().wait_until_empty()
    return sent


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
