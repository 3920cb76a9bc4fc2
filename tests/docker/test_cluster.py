"""docker/kubernetes/ against Kubernetes' own schemas, and docker/slurm/ as bash and the command line read it."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.templating import apply_values

from flows.work_pools import IMAGE, KINDS, STATE
from rl_core import __version__
from tests.docker.dockerfiles import DOCKER, PROJECT, lineage
from tests.docker.programs import run

# What a worker fills in for a run; the rest is the pool's own.
FILLED = {"name": "run", "env": [{"name": "A", "value": "b"}], "labels": {"a": "b"}, "command": ["prefect"]}
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
SBATCH = DOCKER / "slurm" / "recipe.sbatch"


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_every_object_is_one_that_kubernetes_knows(manifest: Path) -> None:
    done = run("kubernetes-validate", "--strict", manifest)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_pod_runs_as_an_ordinary_user_from_a_pinned_image_and_is_probed() -> None:
    pods = [one["spec"]["template"]["spec"] for one in objects() if "template" in one.get("spec", {})]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            name, _, tag = container["image"].partition(":")
            assert tag == (__version__ if name.startswith("deepscaler-recipe-") else "17.6-bookworm")
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert all({"readinessProbe", "livenessProbe"} & set(container) for container in pod["containers"])


def test_the_job_of_a_run_is_one_that_kubernetes_knows(tmp_path: Path) -> None:
    job = job_of_a_run()
    job["metadata"]["name"] = job["metadata"].pop("generateName") + "x"
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job))
    done = run("kubernetes-validate", file)  # not strictly: Prefect's own template says two things at a wrong place
    assert done.returncode == 0, done.stdout + done.stderr
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"deepscaler-recipe-trainer:{__version__}"
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"] == 1000
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] in {name_of(one) for one in objects()}


def test_the_job_of_a_run_is_where_the_worker_has_its_rights() -> None:
    namespace = job_of_a_run()["metadata"]["namespace"]
    assert f"kubectl create namespace {namespace} " in (PROJECT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert not any("namespace" in one["metadata"] for one in objects()), "they go where kubectl is told"
    (worker,) = [one for one in objects() if (one["kind"], name_of(one)) == ("Deployment", "deepscaler-worker")]
    pod = worker["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        told = {entry["name"]: entry for entry in container["env"]}
        assert told["NAMESPACE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
        assert told["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"]["value"] == "$(NAMESPACE)"
    (deployments,) = pod["initContainers"]
    assert "--namespace=$(NAMESPACE)" in deployments["args"]
    assert f"--image={IMAGE}" in deployments["args"], "the line to change for a registry"


def test_workers_serve_the_pools_that_deployments_make() -> None:
    (worker,) = [one for one in objects() if (one["kind"], name_of(one)) == ("Deployment", "deepscaler-worker")]
    assert KINDS["kubernetes"].name in worker["spec"]["template"]["spec"]["containers"][0]["args"]
    for image in (("worker", "base"), ("trainer", "trainer")):
        (command,) = [i for i in lineage(DOCKER / f"{image[0]}.Dockerfile", image[1]) if i.name == "CMD"]
        assert KINDS["process"].name in json.loads(command.text)
        folder = [i for i in lineage(DOCKER / f"{image[0]}.Dockerfile", image[1]) if STATE in i.text]
        assert len(folder) >= 3


def test_the_server_is_told_what_compose_tells_it() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]["server"]
    (server,) = [one for one in objects() if (one["kind"], name_of(one)) == ("Deployment", "deepscaler-server")]
    (container,) = server["spec"]["template"]["spec"]["containers"]
    told = {entry["name"] for entry in container["env"]}
    assert told == {name for name, value in compose["environment"].items() if value is not None}
    assert container["args"] == compose["command"]


def test_what_one_object_names_another_one_is() -> None:
    services = {name_of(one) for one in objects() if one["kind"] == "Service"}
    text = "".join(manifest.read_text(encoding="utf-8") for manifest in MANIFESTS)
    assert services == {"deepscaler-database", "deepscaler-server"}
    assert "value: deepscaler-database" in text
    assert "http://deepscaler-server:4200/api" in text
    accounts = {name_of(one) for one in objects() if one["kind"] == "ServiceAccount"}
    assert {
        one["spec"]["template"]["spec"].get("serviceAccountName")
        for one in objects()
        if "template" in one.get("spec", {})
    } == {
        None,
        *accounts,
    }


def test_the_batch_script_looks_first_and_then_runs_what_it_is_given(tmp_path: Path) -> None:
    said = batch(tmp_path, 0, "--config", "configs/embedded.yaml", "seed=1")
    given = ["--config", "configs/embedded.yaml", "seed=1"]
    assert said == [["-m", "rl_core", "doctor", *given], ["-m", "flows.deepscaler_recipe", *given]]


def test_out_of_time_the_batch_script_queues_itself_again_and_otherwise_not(tmp_path: Path) -> None:
    assert batch(tmp_path, 143)[-1] == ["requeue", "77"]
    assert batch(tmp_path, 3)[-1][1] == "flows.deepscaler_recipe"


def batch(folder: Path, recipe_code: int, *arguments: str) -> list[list[str]]:
    """What the script starts, with Slurm's commands and Python written down in place of done."""
    programs, record = folder / "bin", folder / "said"
    programs.mkdir(exist_ok=True)
    record.unlink(missing_ok=True)
    write = f'#!/bin/bash\nprintf "%q " "$@" >> {record}; echo >> {record}\n'
    scripts = {
        "python": f"{write}[[ $2 == rl_core ]] || exit {recipe_code}\n",
        "scontrol": write,
        "srun": '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n',
    }
    for name, text in scripts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "PYTHON": str(programs / "python"),
        "SLURM_SUBMIT_DIR": str(PROJECT), "SLURM_JOB_ID": "77",
    }  # fmt: skip
    done = subprocess.run(["bash", SBATCH, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == recipe_code, done.stderr
    return [shlex.split(line) for line in record.read_text().splitlines()]


def job_of_a_run() -> dict[str, Any]:
    """The job as Prefect makes it of the pool's template: what nothing is said of is left out."""
    template = KINDS["kubernetes"].template()
    variables = template["variables"]["properties"].items()
    defaults = {name: variable["default"] for name, variable in variables if "default" in variable}
    return apply_values(template["job_configuration"]["job_manifest"], {**defaults, **FILLED})


def objects() -> list[dict[str, Any]]:
    return [one for manifest in MANIFESTS for one in yaml.safe_load_all(manifest.read_text(encoding="utf-8"))]


def name_of(one: dict[str, Any]) -> str:
    return str(one["metadata"]["name"])
