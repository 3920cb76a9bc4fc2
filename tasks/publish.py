"""Publishes the model that a run ends with, where its recipe asks for that."""

from pathlib import Path

from prefect.artifacts import create_link_artifact

from rl_core.manifest import read_json
from rl_core.plan import publish_part
from rl_core.run_dir import RunDir
from tasks.process import run_stage
from tasks.publishing import artifact_key
from tasks.recipe_task import DOWNLOAD_DELAYS, recipe_task


@recipe_task(lambda run, report: publish_part(run), DOWNLOAD_DELAYS)
def publish(run: RunDir, report: Path) -> None:
    """Upload the model and its card, on from where an attempt before was interrupted; link to the page in Prefect.

    Args:
        report: written before, so that Prefect shows which came first.
    """
    run_stage(run, publish_part(run).name, "publish")
    address = (read_json(run.published) or {}).get("url")
    if address:
        key = artifact_key(run, "published")
        create_link_artifact(address, key=key, link_text="published model", description=f"Model of {run.root}")
