"""Where a leaderboard is kept: at the top of the folder of runs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BoardFiles:
    """The files of the leaderboard of a folder of runs."""

    runs: Path

    @property
    def table(self) -> Path:
        return self.runs / "leaderboard.parquet"

    @property
    def page(self) -> Path:
        return self.runs / "leaderboard.html"

    @property
    def markdown(self) -> Path:
        return self.runs / "leaderboard.md"

    @property
    def alarms(self) -> Path:
        return self.runs / "leaderboard.json"

    @property
    def logs(self) -> Path:
        return self.runs / "logs"
