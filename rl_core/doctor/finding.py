"""What was looked at, what was found, and what to do about it."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a finding means for a run."""

    OK = "ok"
    WARNING = "warning"  # a run starts, and may go otherwise than was meant
    STOP = "stop"  # a run would end here, now or hours from now


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    status: Status
    found: str
    do: str = ""  # empty where there is nothing to do

    def __post_init__(self) -> None:
        assert self.do or self.status is Status.OK, f"{self.check}: what is not well says what to do"

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Status.OK, found)


def warning(check: str, found: str, do: str) -> Finding:
    """Worth a thought."""
    return Finding(check, Status.WARNING, found, do)


def stop(check: str, found: str, do: str) -> Finding:
    """No run before this is put right."""
    return Finding(check, Status.STOP, found, do)
