"""A real worker and what it runs: queued, cancelled, started again."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.work_pools import DEVICES_LIMIT
from rl_core.config import RecipeConfig
from rl_core.config.form import form_values
from tests.flows.conftest import STAND_IN
from tests.flows.team_server import TeamServer, wait_until

POOL = "deepscaler-process"
STEPS, STEP_SECONDS = 300, 1.0  # more than any machine takes to start a second run
CANCEL_SECONDS = 30.0  # in which everything of a cancelled run is gone
TOKEN = "hf_of-somebody"


@pytest.fixture
def worker(deployed: TeamServer, tmp_path: Path) -> Iterator[Path]:
    """The log of a worker whose stages are stood in for."""
    log = tmp_path / "worker.log"
    with deployed.worker(POOL, log, RL_CORE_COMMAND=STAND_IN, HF_TOKEN=TOKEN):
        yield log


def run_folder(tmp_path: Path, name: str, **by_stage: dict[str, object]) -> Path:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "stand_in.json").write_text(json.dumps(by_stage))
    return folder


def parameters(recipe: RecipeConfig, folder: Path) -> dict[str, Any]:
    """Of a run in a folder, with one stage of many steps."""
    values = {**form_values(recipe), "name": folder.name}
    values["stages"][0]["steps"] = STEPS
    return {"config": values, "run_dir": str(folder)}


def calls(folder: Path) -> list[str]:
    log = folder / "calls.log"
    return log.read_text().splitlines() if log.is_file() else []


def steps(folder: Path) -> list[int]:
    return [int(line.rpartition(" ")[2]) for line in calls(folder) if line.startswith("train 0 step")]


@pytest.mark.slow
def test_cancelled_a_run_saves_and_is_gone_the_waiting_one_takes_its_turn_and_the_same_run_again_goes_on(
    deployed: TeamServer, worker: Path, recipe: RecipeConfig, tmp_path: Path
) -> None:
    first = run_folder(tmp_path, "first", train={"seconds": STEP_SECONDS})
    second = run_folder(tmp_path, "second")
    training = deployed.start("deepscaler-recipe/embedded", parameters(recipe, first))
    wait_until(lambda: "train 0 step 1" in calls(first), "the first step", worker.read_text)
    waiting = deployed.start("deepscaler-recipe/embedded", parameters(recipe, second))
    waits = f"waiting for a slot of the limit {DEVICES_LIMIT}"
    wait_until(
        lambda: any(line["message"] == waits for line in deployed.logs(waiting)), "the second to wait", worker.read_text
    )
    assert calls(second) == ["download", "prepare"]
    assert len(processes_of(training)) >= 2, "the flow and its stage"

    deployed.post(f"/flow_runs/{training}/set_state", {"state": {"type": "CANCELLING"}})
    cancelled = time.monotonic()
    wait_until(lambda: not processes_of(training), "every process to be gone", worker.read_text)
    assert time.monotonic() - cancelled < CANCEL_SECONDS
    deployed.wait_for(training, "CANCELLED")
    saved = steps(first)
    assert calls(first)[-1] == "train 0 stopped"
    assert saved == list(range(1, len(saved) + 1))
    assert len(saved) < STEPS
    deployed.wait_for(waiting, "COMPLETED", seen=worker.read_text)

    run_folder(tmp_path, "first", train={"seconds": 0.0})
    again = deployed.start("deepscaler-recipe/embedded", parameters(recipe, first))
    deployed.wait_for(again, "COMPLETED", seen=worker.read_text)
    assert steps(first) == list(range(1, STEPS + 1))
    wait_until(lambda: not processes_of(again), "the run to be gone")

    runs = (training, waiting, again)
    told = [(deployed.get(f"/flow_runs/{run}"), deployed.logs(run), deployed.artifacts(run)) for run in runs]
    assert TOKEN not in json.dumps(told) + worker.read_text()


def processes_of(flow_run: str) -> list[int]:
    """Living processes of a flow run: those that inherited its environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PREFECT__FLOW_RUN_ID={flow_run}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found
