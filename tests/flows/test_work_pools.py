import json
import re

import pytest
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


def test_a_kubernetes_job_has_gpus_state_shared_memory_and_credentials_that_may_be_absent() -> None:
    template = KINDS["kubernetes"].template()
    defaults = {
        name: variable["default"]
        for name, variable in template["variables"]["properties"].items()
        if "default" in variable
    }
    pod = apply_values(template["job_configuration"]["job_manifest"], defaults)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert container["envFrom"] == [{"secretRef": {"name": "deepscaler-credentials", "optional": True}}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "deepscaler-state"}
    assert pod["terminationGracePeriodSeconds"] > 30


def test_a_credential_has_a_block_under_a_name_that_prefect_allows() -> None:
    assert block_name("WANDB_API_KEY") == "wandb-api-key"
