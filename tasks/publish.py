"""Publishes the model that a run ends with, where its recipe asks for that."""

from pathlib import Path

from rl_core.plan import publish_part
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.publishing import link_to
from tasks.recipe_task import DOWNLOAD_DELAYS, recipe_task


@recipe_task(lambda run, report: publish_part(run), DOWNLOAD_DELAYS)
def publish(run: RunDir, report: Path) -> None:
    """Upload the model and its card; an upload that was interrupted goes on. `report` is what the card is made like."""
    run_stage(run, publish_part(run).name, "publish")
    link_to(run, "published")
