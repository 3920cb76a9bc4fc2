"""docker/compose.yaml, as Docker Compose itself reads it; and that Prefect knows what it is told there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl_core import __version__
from tasks.process import STOP_SECONDS
from tests.docker.dockerfiles import DOCKER, DOCKERFILES, PROJECT, stages
from tests.docker.programs import run

COMPOSE, GPU, ROOT = DOCKER / "compose.yaml", DOCKER / "compose.gpu.yaml", PROJECT / "compose.yaml"
EXAMPLE = (DOCKER / ".env.example").read_text(encoding="utf-8")
OWN = {"deepscaler-recipe-light", "deepscaler-recipe-cpu", "deepscaler-recipe-trainer"}
PASSWORD = "a:b@c/d%20 e"  # with what would need escaping in an address


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return resolved(COMPOSE)


@pytest.fixture(scope="module")
def with_gpu() -> dict[str, Any]:
    return resolved(COMPOSE, GPU)


def test_one_command_at_the_root_brings_the_same_as_the_file_itself(project: dict[str, Any]) -> None:
    assert resolved(ROOT) == project
    assert set(project["services"]) == {"database", "server", "deployments", "worker"}


def test_without_a_password_nothing_starts_and_the_message_says_what_to_do() -> None:
    done = run("docker-compose", "--file", COMPOSE, "config", env={"PATH": os.environ["PATH"]})
    assert done.returncode != 0
    assert "copy docker/.env.example to docker/.env" in done.stderr


def test_every_image_is_pinned_and_ours_carry_this_version(with_gpu: dict[str, Any], project: dict[str, Any]) -> None:
    services = [service for each in (project, with_gpu) for service in each["services"].values()]
    for image, service in ((service["image"], service) for service in services):
        name, _, tag = image.partition(":")
        if "build" in service:
            assert (name in OWN, tag) == (True, __version__)
        else:
            assert re.fullmatch(r"\d+\.\d+-[a-z]+", tag), image


def test_every_build_names_a_stage_and_arguments_that_are_there(
    project: dict[str, Any], with_gpu: dict[str, Any]
) -> None:
    for each in (project, with_gpu):
        for build in [service["build"] for service in each["services"].values() if "build" in service]:
            dockerfile = PROJECT / build["dockerfile"]
            assert Path(build["context"]) == PROJECT
            assert dockerfile in DOCKERFILES
            assert build.get("target") in (None, *stages(dockerfile))
            declared = {i.text.split("=")[0] for stage in stages(dockerfile).values() for i in stage.of("ARG")}
            assert set(build["args"]) <= declared


def test_every_variable_is_explained_in_the_example_and_no_other() -> None:
    text = COMPOSE.read_text(encoding="utf-8") + GPU.read_text(encoding="utf-8")
    passed_on = {
        name
        for service in yaml.load(COMPOSE.read_text(encoding="utf-8"), yaml.BaseLoader)["services"].values()
        for name, value in service.get("environment", {}).items()
        if value == ""
    }
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | passed_on
    assert used == set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))


def test_the_example_as_it_is_sets_nothing_but_what_is_needed() -> None:
    assert re.findall(r"^([A-Z_]+=.*)$", EXAMPLE, re.MULTILINE) == ["POSTGRES_PASSWORD="]


def test_a_secret_reaches_those_alone_who_need_it(project: dict[str, Any]) -> None:
    told = {
        name: {service for service, parts in project["services"].items() if secret in json.dumps(parts)}
        for name, secret in SECRETS.items()
    }
    assert told == {
        "POSTGRES_PASSWORD": {"database", "server"},
        "HF_TOKEN": {"worker"},
        "WANDB_API_KEY": {"worker"},
        "PREFECT_SERVER_API_AUTH_STRING": {"server"},
        "PREFECT_API_AUTH_STRING": {"server", "deployments", "worker"},
    }


def test_only_the_server_has_a_port_and_only_for_this_machine(project: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in project["services"].items() if "ports" in service}
    assert list(ports) == ["server"]
    assert [port["host_ip"] for port in ports["server"]] == ["127.0.0.1"]
    assert project["networks"]["database"]["internal"]
    assert set(project["services"]["worker"]["networks"]) == {"prefect"}


def test_each_waits_until_what_it_needs_is_well(project: dict[str, Any]) -> None:
    waits = {
        name: {on: how["condition"] for on, how in service.get("depends_on", {}).items()}
        for name, service in project["services"].items()
    }
    assert waits["server"] == {"database": "service_healthy"}
    assert waits["deployments"] == {"server": "service_healthy"}
    assert waits["worker"]["deployments"] == "service_completed_successfully"
    assert {"database", "server"} <= {
        name for name, s in project["services"].items() if "test" in s.get("healthcheck", {})
    }


def test_the_worker_is_given_the_time_that_a_stage_takes_to_save(project: dict[str, Any]) -> None:
    assert seconds(project["services"]["worker"]["stop_grace_period"]) >= 2 * STOP_SECONDS


def test_with_gpus_the_worker_is_the_trainer_and_sees_all_of_them(
    with_gpu: dict[str, Any], project: dict[str, Any]
) -> None:
    worker = with_gpu["services"].pop("worker")
    assert worker["build"]["dockerfile"] == "docker/trainer.Dockerfile"
    devices = worker["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"capabilities": ["gpu"], "driver": "nvidia", "count": -1}]
    assert worker["environment"] == project["services"]["worker"]["environment"]
    assert with_gpu["services"] == {name: s for name, s in project["services"].items() if name != "worker"}


def test_prefect_reads_what_the_server_is_told(project: dict[str, Any]) -> None:
    told = project["services"]["server"]["environment"]
    script = """
import json
from prefect.settings import get_current_settings, PREFECT_API_DATABASE_CONNECTION_URL as address
from sqlalchemy import make_url
server, url = get_current_settings().server, make_url(str(address.value()))
print(json.dumps([url.drivername, url.host, url.port, url.database, url.username, url.password,
    server.concurrency.lease_storage, server.analytics_enabled, server.ui.api_url,
    server.api.auth_string.get_secret_value(), get_current_settings().api.auth_string.get_secret_value()]))
"""
    command = [sys.executable, "-W", "error", "-c", script]
    environment = {**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **told}
    done = subprocess.run(command, env=environment, cwd=DOCKER, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout or "null") == [
        *("postgresql+asyncpg", "database", 5432, "prefect", "prefect", PASSWORD),
        *("prefect.server.concurrency.lease_storage.filesystem", False, "http://localhost:4200/api"),
        *(SECRETS["PREFECT_SERVER_API_AUTH_STRING"], SECRETS["PREFECT_API_AUTH_STRING"]),
    ], done.stderr


SECRETS = {
    "POSTGRES_PASSWORD": PASSWORD,
    "HF_TOKEN": "hf_token_in_the_example",
    "WANDB_API_KEY": "wandb_key_in_the_example",
    "PREFECT_SERVER_API_AUTH_STRING": "asked:by-the-server",
    "PREFECT_API_AUTH_STRING": "answered:by-a-client",
}


def resolved(*files: Path) -> dict[str, Any]:
    """A project as Docker Compose resolves it, with every secret set."""
    options = [argument for file in files for argument in ("--file", file)]
    environment = {"PATH": os.environ["PATH"], **SECRETS}
    done = run("docker-compose", *options, "config", "--format", "json", env=environment)
    assert done.returncode == 0, done.stderr
    return {name: part for name, part in json.loads(done.stdout).items() if not name.startswith("x-")}


def seconds(duration: str) -> float:
    match = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration)
    assert match, duration
    return 60 * int(match[1] or 0) + int(match[2] or 0)
