"""What a run shows in Prefect: the log and progress of each stage, and at the end its results, report and pictures."""

import base64
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.logging import get_run_logger

from rl_core.leaderboard.files import BoardFiles
from rl_core.progress import Update
from rl_core.run_dir import RunDir
from tasks.results import results_table

THROTTLE_SECONDS = 5.0  # between two progress lines, or two changes of the progress artifact, of one stage
LEVEL_WORDS = {"CRITICAL": logging.CRITICAL, "ERROR": logging.ERROR, "WARNING": logging.WARNING}


def artifact_key(run: RunDir, name: str) -> str:
    """The same for every run of the same name, so that versions of an artifact line up."""
    return key_of(f"{run.config.name} {name}")


def key_of(text: str) -> str:
    """A text as the key of an artifact: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def publish_report(run: RunDir) -> None:
    """The results table, the report and its pictures as artifacts of the task run that calls."""
    create_table_artifact(results_table(run), key=artifact_key(run, "results"), description=f"Results of {run.root}")
    report = run.report.read_text(encoding="utf-8")
    create_markdown_artifact(report, key=artifact_key(run, "report"), description=f"Report of {run.root}")
    for picture in sorted(run.report.parent.glob("*.png")):
        _show_picture(picture, artifact_key(run, picture.stem), f"{picture.stem} of {run.root}")


def publish_leaderboard(files: BoardFiles) -> None:
    """The leaderboard and its pictures as artifacts of the task run that calls."""
    text, name = files.markdown.read_text(encoding="utf-8"), files.runs.name
    create_markdown_artifact(text, key=key_of(f"leaderboard {name}"), description=f"Leaderboard of {files.runs}")
    for picture in files.pictures():
        _show_picture(picture, key_of(f"{name} {picture.stem}"), f"{picture.stem} of {files.runs}")


def _show_picture(picture: Path, key: str, description: str) -> None:
    data = base64.b64encode(picture.read_bytes()).decode()
    create_image_artifact(f"data:image/png;base64,{data}", key=key, description=description)


class StageJournal:
    """One stage in Prefect: its lines in the task run's log, its progress there and as an artifact, thinned."""

    def __init__(self, key: str) -> None:
        self._logger = get_run_logger()
        self._key = key
        self._artifacts: dict[str, UUID] = {}
        self._due = _Throttle()

    def take(self, line: str, update: Update | None) -> None:
        """One line of the stage's output, and the moment of its work that it stands for, when it does."""
        if update is None:
            level = next((level for word, level in LEVEL_WORDS.items() if word in line), logging.INFO)
            self._logger.log(level, "%s", line)
        elif self._due(update.work, last=update.done == update.total):
            self._logger.info("%s", update.line())
            try:
                self._show_progress(update)
            except Exception as error:  # a server that is away for a moment must not end a training
                self._logger.warning("the progress artifact was not updated: %r", error)

    def _show_progress(self, update: Update) -> None:
        percent = 100.0 * update.done / update.total if update.total else 0.0
        if update.work in self._artifacts:
            update_progress_artifact(self._artifacts[update.work], progress=percent)
        elif not self._artifacts:  # the stage's main work; what goes on within it is only logged
            artifact = create_progress_artifact(percent, key=self._key, description=update.work)
            assert isinstance(artifact, UUID), "called outside an event loop"
            self._artifacts[update.work] = artifact


class _Throttle:
    """Says yes at most once in THROTTLE_SECONDS for each name, and always to the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._previous: dict[str, float] = {}

    def __call__(self, name: str, *, last: bool) -> bool:
        now = self._clock()
        if not last and now - self._previous.get(name, float("-inf")) < THROTTLE_SECONDS:
            return False
        self._previous[name] = now
        return True
