"""The command of the images' worker, under the script that ends it: its run is ended first, and saves its step."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rl_core.config import RecipeConfig
from tests.docker.dockerfiles import DOCKER, lineage
from tests.docker.test_compose import COMPOSE, resolved, seconds
from tests.flows.conftest import STAND_IN
from tests.flows.team_server import REPOSITORY, TeamServer, free_port, wait_until
from tests.flows.test_worker import calls, parameters, processes_of, run_folder


@pytest.mark.slow
def test_stopped_with_its_run_the_worker_ends_in_its_grace_and_the_step_is_saved(
    deployed: TeamServer, recipe: RecipeConfig, tmp_path: Path
) -> None:
    (instruction,) = [i for i in lineage(DOCKER / "worker.Dockerfile", "base") if i.name == "CMD"]
    command = [*json.loads(instruction.text), "--name", "container"]
    port, log = str(free_port()), tmp_path / "worker.log"
    environment = {
        **deployed.environment, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_WEBSERVER_PORT": port,
        "RL_CORE_COMMAND": STAND_IN,
    }  # fmt: skip
    folder = run_folder(tmp_path, "stopped", train={"seconds": 1.0})
    with log.open("wb") as output:
        worker = subprocess.Popen(
            ["sh", DOCKER / "supervise.sh", sys.executable, "-m", *command],
            env=environment, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: healthy(port), "the worker to be well", log.read_text)
        run = deployed.start("deepscaler-recipe/embedded", parameters(recipe, folder))
        wait_until(lambda: "train 0 step 1" in calls(folder), "the first step", log.read_text)
        worker.terminate()
        worker.wait(seconds(resolved(COMPOSE)["services"]["worker"]["stop_grace_period"]))
        assert processes_of(run) == []
        assert calls(folder)[-1] == "train 0 stopped"
        assert not healthy(port)
        deployed.wait_for(run, "CRASHED", seen=log.read_text)
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def healthy(port: str) -> bool:
    """What the image's own health check says."""
    command = [sys.executable, DOCKER / "healthy.py", f"http://127.0.0.1:{port}/health"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
