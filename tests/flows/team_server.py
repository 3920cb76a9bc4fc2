"""A Prefect server such as a team runs, with what a test asks of it and starts against it, all as processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from rl_core.process_guard import PARENT_VARIABLE, guarded

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 300.0  # for what takes seconds on an idle machine
POLL_SECONDS = 0.5  # a server that is asked more often has less time for runs
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class TeamServer:
    """A server that answers at `api`."""

    def __init__(self, api: str, environment: dict[str, str]) -> None:
        self.api, self.environment = api, environment
        self._client = httpx.Client(base_url=api, timeout=PATIENCE_SECONDS, trust_env=False)

    def get(self, path: str) -> Any:
        """What is read at a path of its API."""
        return self._client.get(path).raise_for_status().json()

    def post(self, path: str, body: dict[str, Any] | list[Any] | None = None) -> Any:
        """What it answers to a body."""
        answer = self._client.post(path, json=body or {}).raise_for_status()
        return answer.json() if answer.content else None

    def delete(self, path: str) -> None:
        """Remove what is at a path."""
        self._client.delete(path).raise_for_status()

    def patch(self, path: str, body: dict[str, Any]) -> None:
        """Change what is at a path."""
        self._client.patch(path, json=body).raise_for_status()

    def command(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run `python -m ...` in the repository, against this server, to its end."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**self.environment, **environment}, cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip

    @contextmanager
    def worker(self, pool: str, log: Path, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A worker of a pool, for as long as the block lasts."""
        own = {PARENT_VARIABLE: str(os.getpid()), "PREFECT_WORKER_QUERY_SECONDS": "3"}
        with log.open("wb") as output:
            process = subprocess.Popen(
                guarded([sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", log.stem]),
                env={**self.environment, **own, **environment},
                cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: self._is_online(pool, log.stem), "the worker", log.read_text)
            yield process
        finally:
            end_group(process)

    def _is_online(self, pool: str, name: str) -> bool:
        workers = self.post(f"/work_pools/{pool}/workers/filter")
        return any(worker["name"] == name and worker["status"] == "ONLINE" for worker in workers)

    def deployment(self, name: str) -> Any:
        """A deployment by flow and name: deepscaler-recipe/embedded."""
        return self.get(f"/deployments/name/{name}")

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Schedule a run of a deployment; its id."""
        identity = self.deployment(deployment)["id"]
        return str(self.post(f"/deployments/{identity}/create_flow_run", {"parameters": parameters})["id"])

    def wait_for(self, flow_run: str, *states: str, seen: Callable[[], str] = lambda: "") -> Any:
        """The flow run, once it is in one of the states."""
        wait_until(
            lambda: self.get(f"/flow_runs/{flow_run}")["state_type"] in states,
            f"flow run in {states}",
            lambda: f"{self.get(f'/flow_runs/{flow_run}')['state']}\n{seen()}",
        )
        return self.get(f"/flow_runs/{flow_run}")

    def logs(self, flow_run: str) -> list[dict[str, Any]]:
        """Every line that the run and its tasks logged."""
        lines: list[dict[str, Any]] = []
        asked = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        while page := self.post("/logs/filter", {**asked, "offset": len(lines)}):
            lines += page
        return lines

    def artifacts(self, flow_run: str) -> dict[str, Any]:
        """What each artifact of the run and its tasks holds, by its key; the last where there are several."""
        asked = {"artifacts": {"flow_run_id": {"any_": [flow_run]}}, "sort": "UPDATED_DESC", "limit": 200}
        return {artifact["key"]: artifact for artifact in reversed(self.post("/artifacts/filter", asked))}


@contextmanager
def team_server(folder: Path, **settings: str) -> Iterator[TeamServer]:
    """A server with a database in `folder`, or as the settings say, for as long as the block lasts."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {
        **inherited,
        "PYTHONPATH": str(REPOSITORY),
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "results"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(folder / "memo_store.toml"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "TEST_MARK": str(folder),
        **settings,
    }
    log = folder / "server.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            guarded(command),
            env={**environment, PARENT_VARIABLE: str(os.getpid())},
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = TeamServer(environment["PREFECT_API_URL"], environment)
        wait_until(lambda: process.poll() is not None or _is_healthy(server), "the server", log.read_text)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        end_group(process)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], Any], what: str, seen: Callable[[], str] = lambda: "") -> None:
    """Until `true()`; fails with what was seen instead."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"waited for {what}; there was: {seen()}"
        time.sleep(POLL_SECONDS)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process and what it started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            process.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def kill_tree(process: "subprocess.Popen[Any]") -> None:
    """Kill a process and all that it started, at once, as a machine does that goes down."""
    for victim in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # its parent's death took it along
            victim.kill()
    process.wait()


def _is_healthy(server: TeamServer) -> bool:
    try:
        return server.get("/health") is True
    except httpx.HTTPError:
        return False
