import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.provision import make_limit, make_pool
from flows.work_pools import DEVICES_LIMIT, KINDS
from rl_core.config import check_config, load_config, load_reevaluation
from rl_core.config.form import form_values
from rl_core.errors import MistakeError
from tests.flows.team_server import REPOSITORY, TeamServer, wait_until

PRESETS = {file.stem: load_config(file) for file in sorted((REPOSITORY / "configs").glob("*.yaml"))}
POOL = "deepscaler-process"


def recipe_deployments() -> dict[str, dict[str, Any]]:
    """Those of prefect.yaml that are of the recipe."""
    definition = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    return {found["name"]: found for found in definition["deployments"] if "recipe" in found["tags"]}


def test_every_preset_is_a_deployment_with_its_own_settings() -> None:
    deployments = recipe_deployments()
    assert set(deployments) == set(PRESETS)
    for name, deployment in deployments.items():
        assert deployment["parameters"] == {"config": f"{{{{ presets.{name} }}}}"}


@pytest.mark.parametrize("name", PRESETS)
def test_the_form_holds_every_setting_and_is_the_preset(name: str) -> None:
    values = form_values(PRESETS[name])
    assert check_config(values, origin="the form") == PRESETS[name]
    assert set(values) == set(type(PRESETS[name]).model_fields)


def test_what_is_changed_in_the_form_for_all_stages_reaches_those_that_have_nothing_of_their_own() -> None:
    values = form_values(PRESETS["deepscaler_1_5b_nemo"])
    values["optimizer"]["learning_rate"] = 3e-5
    changed = check_config(values, origin="the form")
    before = [stage.optimizer.learning_rate for stage in PRESETS["deepscaler_1_5b_nemo"].stages]
    assert [stage.optimizer.learning_rate for stage in changed.stages] == [3e-5, 3e-5, before[2]]
    assert before[2] != before[0], "else the third stage has nothing of its own"


def test_the_command_makes_pool_queues_limit_and_deployments(deployed: TeamServer) -> None:
    pool = deployed.get(f"/work_pools/{POOL}")
    assert pool["type"] == "process"
    queues = {queue["name"]: queue["priority"] for queue in deployed.post(f"/work_pools/{POOL}/queues/filter")}
    assert queues["recipes"] < queues["evaluations"]
    assert deployed.get(f"/v2/concurrency_limits/{DEVICES_LIMIT}")["limit"] == 1
    for name, config in PRESETS.items():
        deployment = deployed.deployment(f"deepscaler-recipe/{name}")
        assert check_config(deployment["parameters"]["config"], origin=name) == config
        assert (deployment["work_pool_name"], deployment["work_queue_name"]) == (POOL, "recipes")


def test_the_re_evaluation_is_scheduled_and_never_twice_at_a_time(deployed: TeamServer) -> None:
    deployment = deployed.deployment("reevaluate/nightly")
    (schedule,) = deployment["schedules"]
    assert (schedule["active"], schedule["schedule"]["cron"]) == (True, "0 3 * * *")
    assert schedule["schedule"]["timezone"] == "Etc/UTC"
    assert deployment["work_queue_name"] == "evaluations"
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["parameters"] == {"config": load_reevaluation().model_dump(mode="json")}
    of_it = {"deployments": {"id": {"any_": [deployment["id"]]}}}
    wait_until(lambda: deployed.post("/flow_runs/count", of_it) > 0, "the scheduler to plan its runs")


def test_the_form_has_descriptions_and_choices(deployed: TeamServer) -> None:
    schema = deployed.deployment("deepscaler-recipe/embedded")["parameter_openapi_schema"]
    definitions = schema["definitions"]
    assert definitions["RolloutConfig"]["properties"]["engine"]["enum"] == ["auto", "vllm", "transformers"]
    assert definitions["RolloutConfig"]["properties"]["num_prompts"]["description"] == "problems per step (P)"
    assert {"type": "null"} in definitions["StageConfig"]["properties"]["optimizer"]["anyOf"]


@pytest.fixture
def client(deployed: TeamServer) -> Iterator[SyncPrefectClient]:
    """Prefect's own client of the server."""
    with temporary_settings({PREFECT_API_URL: deployed.api}), get_client(sync_client=True) as client:
        yield client


def test_what_a_team_has_set_in_pool_and_limit_is_kept_unless_asked(
    deployed: TeamServer, client: SyncPrefectClient
) -> None:
    template = deployed.get(f"/work_pools/{POOL}")["base_job_template"]
    template["variables"]["properties"]["env"]["default"]["OURS"] = "kept"
    deployed.patch(f"/work_pools/{POOL}", {"base_job_template": template})
    deployed.patch(f"/v2/concurrency_limits/{DEVICES_LIMIT}", {"limit": 3})

    assert list(make_pool(client, KINDS["process"], overwrite=False)) == [
        f"work pool {POOL}: there already, kept as it is",
        f"queue recipes of {POOL}: there already",
        f"queue evaluations of {POOL}: there already",
    ]
    assert list(make_limit(client, None)) == [f"limit {DEVICES_LIMIT}: there already, 3"]
    assert deployed.get(f"/work_pools/{POOL}")["base_job_template"] == template

    assert f"work pool {POOL}: job template made again" in make_pool(client, KINDS["process"], overwrite=True)
    assert list(make_limit(client, 1)) == [f"limit {DEVICES_LIMIT}: 3 -> 1"]
    environment = deployed.get(f"/work_pools/{POOL}")["base_job_template"]["variables"]["properties"]["env"]["default"]
    assert environment == {"DEEPSCALER_DEVICES_LIMIT": DEVICES_LIMIT}


def test_image_and_namespace_of_a_pool_are_set_when_asked_for_and_then_kept(
    deployed: TeamServer, client: SyncPrefectClient
) -> None:
    kind = KINDS["kubernetes"]
    asked = {"image": "registry.example/trainer:1", "namespace": "ours"}

    def present() -> list[str]:
        variables = deployed.get(f"/work_pools/{kind.name}")["base_job_template"]["variables"]["properties"]
        return [variables[name]["default"] for name in asked]

    said = [f"work pool {kind.name}: {name} {value}" for name, value in asked.items()]
    assert list(make_pool(client, kind, overwrite=False, defaults=asked))[:3] == [f"work pool {kind.name}: made", *said]
    assert present() == [*asked.values()]
    list(make_pool(client, kind, overwrite=False))
    assert present() == [*asked.values()]
    list(make_pool(client, kind, overwrite=False, defaults={"namespace": "theirs"}))
    assert present() == [asked["image"], "theirs"]
    with pytest.raises(MistakeError, match="--namespace: the runs of this pool have none"):
        list(make_pool(client, KINDS["process"], overwrite=False, defaults={"namespace": "ours"}))


def test_prefect_s_own_command_deploys_again_from_the_repository_s_root(deployed: TeamServer) -> None:
    before = deployed.deployment("deepscaler-recipe/embedded")
    done = deployed.command("prefect", "--no-prompt", "deploy", "--all")
    assert done.returncode == 0, done.stdout + done.stderr
    after = deployed.deployment("deepscaler-recipe/embedded")
    assert (after["id"], after["parameters"]) == (before["id"], before["parameters"])
    assert after["updated"] > before["updated"]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "PREFECT_API_URL is not set: deployments are kept by a server"),
        ([], {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "no Prefect server answers there"),
        (["--machines", "0"], {}, "argument --machines: '0' is not a whole number from 1 on"),
        (["--machines", "-1"], {}, "argument --machines: '-1' is not a whole number from 1 on"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: list[str], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    done = command(tmp_path, *arguments, **environment)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_lets_nobody_in_is_named_in_one_message(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), LetsNobodyIn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api = f"http://127.0.0.1:{server.server_port}/api"
        done = command(tmp_path, PREFECT_API_URL=api)
        server.shutdown()
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: PREFECT_API_URL={api}: the server refused ")
    assert done.stderr.endswith("with HTTP 401: set PREFECT_API_AUTH_STRING, as the server asks for it\n")
    assert done.stderr.count("\n") == 1


class LetsNobodyIn(BaseHTTPRequestHandler):
    """A server that has a password: its health is told to everybody."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path.endswith("/health") else 401)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"true")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def command(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`python -m flows.deployments` in an empty folder."""
    return subprocess.run(
        [sys.executable, "-m", "flows.deployments", *arguments],
        env={"PYTHONPATH": str(REPOSITORY), "PREFECT_HOME": str(folder), **environment},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
