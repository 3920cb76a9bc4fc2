"""The scheduled re-evaluation, on a real server and worker; models are stood in for."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rl_core.leaderboard.files import BoardFiles
from tests.flows.team_server import TeamServer, wait_until
from tests.rl_core.leaderboard.synthetic_runs import add_checkpoint, end_stage, new_run

POOL = "deepscaler-process"
STAND_IN = f"{sys.executable} {Path(__file__).with_name('stand_in_evaluations.py')}"


def models(runs: Path) -> list[str]:
    """The rows of the leaderboard."""
    table = BoardFiles(runs).table
    return [f"{row['series']} {row['model']}" for row in pq.read_table(table).to_pylist()] if table.is_file() else []


@contextmanager
def every_half_minute(server: TeamServer, deployment: dict[str, Any], runs: Path) -> Iterator[None]:
    """The deployment twice a minute and on these runs, beside its own schedule, until the block ends."""
    config = {**deployment["parameters"]["config"], "runs": str(runs)}
    schedule = {"schedule": {"cron": "* * * * * 0,30", "timezone": "Etc/UTC"}, "parameters": {"config": config}}
    path = f"/deployments/{deployment['id']}/schedules"
    (made,) = server.post(path, [{**schedule, "active": True}])
    try:
        yield
    finally:
        server.delete(f"{path}/{made['id']}")


@pytest.mark.slow
def test_it_fires_by_itself_and_adds_a_row_for_a_new_checkpoint_and_only_for_it(
    deployed: TeamServer, tmp_path: Path
) -> None:
    run = new_run(tmp_path / "runs" / "one")
    add_checkpoint(run, 0, 10)
    (tmp_path / "right.json").write_text(json.dumps({}))
    deployment = deployed.deployment("reevaluate/nightly")
    log = tmp_path / "worker.log"
    with (
        every_half_minute(deployed, deployment, tmp_path / "runs"),
        deployed.worker(POOL, log, RL_CORE_COMMAND=STAND_IN, STAND_IN=str(tmp_path)),
    ):
        wait_until(lambda: models(tmp_path / "runs") == ["one base", "one 8k step 10"], "the first pass", log.read_text)
        asked = (tmp_path / "calls.log").read_text().splitlines()
        assert asked == ["evaluate base", "convert 0 10", "evaluate step_000010", "leaderboard"]

        add_checkpoint(run, 0, 20)
        end_stage(run, 0)
        wait_until(lambda: "one 8k" in models(tmp_path / "runs"), "the next pass", log.read_text)
    since = (tmp_path / "calls.log").read_text().splitlines()[len(asked) :]
    new = ["convert 0 20", "evaluate step_000020", "evaluate hf"]
    assert [line for line in since if line != "leaderboard"] == new, "what was asked before is not asked again"
    runs = deployed.post("/flow_runs/filter", {"deployments": {"id": {"any_": [deployment["id"]]}}})
    assert all(run["auto_scheduled"] for run in runs)
