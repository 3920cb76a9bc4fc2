"""What a run shows in Prefect: plan, log and progress of each stage, and at the end results, report and pictures."""

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.logging import get_run_logger

from rl_core.leaderboard.files import BoardFiles
from rl_core.progress import Update
from rl_core.run_dir import RunDir
from rl_core.tracking import run_url
from tasks.log_levels import level_of
from tasks.plan_text import plan_text
from tasks.results import results_table

THROTTLE_SECONDS = 5.0  # between two progress lines, or two changes of the progress artifact, of one stage
RESPONSES = "## Responses to read"  # of the report: a right, a wrong and a cut off one
PICTURE = re.compile(r"!\[([^\]]*)\]\((\w+)\.png\)")


def artifact_key(run: RunDir, name: str) -> str:
    """The same for every run of the same name, so that versions of an artifact line up."""
    return key_of(f"{run.config.name} {name}")


def key_of(text: str) -> str:
    """A text as the key of an artifact: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def publish_plan(run: RunDir) -> None:
    """What the run will do, and what of it is done, as an artifact of the flow run that calls."""
    create_markdown_artifact(plan_text(run), key=artifact_key(run, "plan"), description=f"Plan of {run.root}")


def publish_report(run: RunDir) -> None:
    """The results, the report, its pictures, responses to read and W&B's page, as artifacts of the calling task run."""
    create_table_artifact(results_table(run), key=artifact_key(run, "results"), description=f"Results of {run.root}")
    report = run.report.read_text(encoding="utf-8")
    shown = PICTURE.sub(lambda found: _picture_link(run, *found.groups()), report)
    create_markdown_artifact(shown, key=artifact_key(run, "report"), description=f"Report of {run.root}")
    responses = section(report, RESPONSES)
    if responses:
        key = artifact_key(run, "responses")
        create_markdown_artifact(responses, key=key, description=f"Responses of {run.root}")
    url = run_url(run)
    if url:
        create_link_artifact(url, key=artifact_key(run, "wandb"), link_text="Weights & Biases")
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


def section(report: str, heading: str) -> str:
    """A section of a Markdown text, with its heading; nothing where there is none."""
    _, found, after = report.partition(f"\n{heading}\n")
    return f"{heading}\n{after.partition(chr(10) + '## ')[0]}" if found else ""


def _picture_link(run: RunDir, title: str, name: str) -> str:
    """In place of a picture that lies beside the report: the page of its artifact."""
    return f"[{title}](/artifacts/key/{artifact_key(run, name)})"


class StageJournal:
    """One stage in Prefect: its lines in the task run's log, its progress there and as an artifact, thinned."""

    def __init__(self, key: str) -> None:
        """Args: key: of the artifact that shows its progress."""
        self._logger = get_run_logger()
        self._key = key
        self._artifacts: dict[str, UUID] = {}
        self._due = _Throttle()

    def take(self, line: str, update: Update | None) -> None:
        """One line of the stage's output, and the moment of its work that it stands for, when it does."""
        if update is None:
            self._logger.log(level_of(line), "%s", line)
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
