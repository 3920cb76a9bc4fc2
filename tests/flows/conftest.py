"""A small recipe, stages that are stood in for, and a Prefect that is the tests' own."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rl_core.config import RecipeConfig, load_config
from tests.flows.team_server import TeamServer, team_server

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = f"{sys.executable} {Path(__file__).with_name('stand_in.py')}"
SMALL = ["name=small", "stages.0.steps=3", "stages.1.steps=3", "stages.2.steps=3"]
ONE_STAGE = """
name: one
data: {train: {source: embedded}, test: {source: embedded}}
embedded: {}
policy: {model_name: embedded}
rollout: {num_prompts: 8}
stages: [{name: only, steps: 3, max_prompt_tokens: 64, max_response_tokens: 32}]
"""


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One Prefect database for all commands of the session: the first start makes it, which takes ten seconds."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture
def environment(prefect_home: Path, tmp_path: Path) -> dict[str, str]:
    """For a command in a process of its own: stood-in stages, no server given, a mark on every process it leaves."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **inherited,
        "PYTHONPATH": str(REPOSITORY),
        "RL_CORE_COMMAND": STAND_IN,
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(prefect_home / "results"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(prefect_home / "memo_store.toml"),
        "TEST_MARK": str(tmp_path),
    }


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    """A server such as a team runs, for deployments, workers and browsers."""
    with team_server(tmp_path_factory.mktemp("team")) as server:
        yield server


@pytest.fixture(scope="session")
def deployed(team: TeamServer) -> TeamServer:
    """The same, with the project's work pool and deployments."""
    done = team.command("flows.deployments")
    assert done.returncode == 0, done.stdout + done.stderr
    return team


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary Prefect for flows that are called in this process."""
    from prefect.settings import PREFECT_RESULTS_LOCAL_STORAGE_PATH, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    results = tmp_path_factory.mktemp("results")
    with (
        prefect_test_harness(server_startup_timeout=300),
        temporary_settings({PREFECT_RESULTS_LOCAL_STORAGE_PATH: results}),
    ):
        yield


@pytest.fixture
def recipe(tmp_path: Path) -> RecipeConfig:
    """One stage of three steps."""
    file = tmp_path / "one.yaml"
    file.write_text(ONE_STAGE)
    return load_config(file)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, run_dir: Path) -> Callable[..., None]:
    """Stages of flows in this process are stood in for; call it to say how one behaves."""
    monkeypatch.setenv("RL_CORE_COMMAND", STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))

    def behave(**by_stage: dict[str, object]) -> None:
        (run_dir / "stand_in.json").write_text(json.dumps(by_stage))

    return behave


@pytest.fixture
def calls(run_dir: Path) -> Callable[[], list[str]]:
    """What the stood-in stages really did since this was last asked."""

    def since() -> list[str]:
        log = run_dir / "calls.log"
        lines = log.read_text().splitlines() if log.is_file() else []
        log.unlink(missing_ok=True)
        return lines

    return since
