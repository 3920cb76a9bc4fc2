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

    def picture(self, name: str) -> Path:
        return self.runs / f"{name}.png"

    def pictures(self) -> list[Path]:
        """Those that are there."""
        return sorted(self.runs.glob("leaderboard-*.png"))

    @property
    def config(self) -> Path:
        """The settings of the pass, for the processes that it starts."""
        return self.logs / "config.yaml"

    @property
    def logs(self) -> Path:
        return self.runs / "logs" / "reevaluate"
