"""leaderboard.json: the regressions on the leaderboard, and which of them were told. Standard library alone.

Between the process that writes the leaderboard and the flow that raises the alarm. An alarm is marked as told after it
was, so that one whose pass was killed in between is told by the next.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rl_core.manifest import read_json, write_json


@dataclass(frozen=True, slots=True)
class Alarm:
    """One model that became worse."""

    series: str
    model_digest: str
    benchmark: str
    dataset_digest: str
    protocol_digest: str
    model: str
    worse_than: str
    pass_at_1: float
    difference: float  # to the model that it is worse than
    adjusted_p_value: float
    false_alarm_rate: float
    num_judged: int
    judged_at: str
    newest: bool  # it is the last of its series, so that the series stands lower than it once did
    sentence: str
    told: bool = False
    asked: bool = True  # of what the pass asks, on the problems of now

    @property
    def key(self) -> tuple[str, ...]:
        return self.series, self.model_digest, self.benchmark, self.dataset_digest, self.protocol_digest

    @property
    def stands(self) -> bool:
        """Whether a pass that finds it ends as failed: not told before, or of the newest model of its series."""
        return self.asked and (self.newest or not self.told)


def read_alarms(file: Path) -> list[Alarm]:
    """The alarms that a leaderboard was left with; none where there is no file."""
    return [Alarm(**alarm) for alarm in (read_json(file) or {}).get("regressions", [])]


def write_alarms(file: Path, alarms: Sequence[Alarm]) -> None:
    """Write them; one that was told before stays told."""
    told = {alarm.key for alarm in read_alarms(file) if alarm.told}
    write_json(
        file, {"regressions": [asdict(replace(alarm, told=alarm.told or alarm.key in told)) for alarm in alarms]}
    )


def mark_told(file: Path, alarms: Sequence[Alarm]) -> None:
    """Note that these were told."""
    told = {alarm.key for alarm in alarms}
    write_alarms(file, [replace(alarm, told=alarm.told or alarm.key in told) for alarm in read_alarms(file)])
