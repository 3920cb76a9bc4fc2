import json
import re
from pathlib import Path
from typing import Any

import pytest
from docker.utils import parse_bytes
from prefect.utilities.templating import apply_values

from flows.work_pools import KINDS, block_name


@pytest.mark.parametrize("kind", KINDS)
def test_every_placeholder_of_a_job_is_a_variable_of_the_pool(kind: str) -> None:
    template = KINDS[kind].template()
    asked = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert asked <= set(template["variables"]["properties"])
    assert KINDS[kind].template() == template, "made from Prefect's own each time"


@pytest.mark.parametrize("kind", KINDS)
def test_every_pool_tells_its_runs_of_the_limit_on_devices(kind: str) -> None:
    environment = KINDS[kind].template()["variables"]["properties"]["env"]["default"]
    assert environment["DEEPSCALER_DEVICES_LIMIT"] == "deepscaler-devices"


def test_containers_share_the_locks_of_devices_on_their_volume_and_have_shared_memory() -> None:
    template = KINDS["docker"].template()
    configuration = apply_values(template["job_configuration"], defaults_of(template))
    (mount,) = [volume.partition(":")[2] for volume in configuration["volumes"]]
    assert Path(configuration["env"]["DEEPSCALER_DEVICE_LOCKS"]).parent == Path(mount)
    assert parse_bytes(configuration["container_create_kwargs"]["shm_size"]) == 16 * 2**30


def test_a_kubernetes_job_has_gpus_state_shared_memory_and_credentials_that_may_be_absent() -> None:
    template = KINDS["kubernetes"].template()
    job = apply_values(template["job_configuration"]["job_manifest"], defaults_of(template))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert container["envFrom"] == [{"secretRef": {"name": "deepscaler-credentials", "optional": True}}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "deepscaler-state"}
    assert pod["terminationGracePeriodSeconds"] > 30


def test_a_credential_has_a_block_under_a_name_that_prefect_allows() -> None:
    assert block_name("WANDB_API_KEY") == "wandb-api-key"


def defaults_of(template: dict[str, Any]) -> dict[str, Any]:
    """What the pool's variables are where nobody says otherwise."""
    variables = template["variables"]["properties"].items()
    return {name: variable["default"] for name, variable in variables if "default" in variable}
