"""The work pools that deployments run in: a process on the worker's machine, a Docker container, a Kubernetes job.

Each is Prefect's own job template of its kind with what this project needs filled in; docs/prefect.md says what a team
sets in them. Imports no Prefect server: the templates come from the collection that Prefect brings along.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from rl_core import __version__
from rl_core.devices import LOCKS_VARIABLE
from rl_core.errors import MistakeError
from tasks.slots import LIMIT_VARIABLE

Template = dict[str, Any]

COLLECTION = "server/api/collections_data/views/aggregate-worker-metadata.json"  # in the package prefect
DEVICES_LIMIT = "deepscaler-devices"  # the global concurrency limit of what computes on a machine's devices
QUEUES = {"recipes": 1, "evaluations": 2}  # name and priority; 1 goes first
IMAGE = f"deepscaler-recipe-trainer:{__version__}"
NAMESPACE = "deepscaler"  # of a cluster: where docs/deploy.md has the server, the worker and its rights
STATE = "/var/lib/deepscaler"  # in that image: runs, results that Prefect keeps, caches; a volume goes there
USER = 1000  # of the images: what a new volume is given to
SHARED_MEMORY_GIB = 16  # of /dev/shm, for collectives between ranks; the usual 64 MiB end them
DEVICE_LOCKS = f"{STATE}/device-locks"  # on the volume that all containers of a machine have
CREDENTIALS = ("HF_TOKEN", "WANDB_API_KEY", "MODELSCOPE_API_TOKEN")  # that stages read in their environment
STOP_SECONDS = 60  # for a pod to end by itself: a stage takes up to 25, and then the last states are written


@dataclass(frozen=True, slots=True)
class PoolKind:
    """One kind of work pool."""

    type: str  # as Prefect calls it
    package: str  # that a worker of this kind comes from
    fit: Callable[[Template], None]  # changes Prefect's template in place
    description: str
    reads_blocks: bool = True  # for credentials; a cluster has secrets of its own, and a job's variables can be read

    @property
    def name(self) -> str:
        return f"deepscaler-{self.type}"

    def template(self) -> Template:
        """The base job template of the pool."""
        template = _prefect_template(self.package, self.type)
        self.fit(template)
        add_environment(template, {LIMIT_VARIABLE: DEVICES_LIMIT})
        return template


def add_environment(template: Template, environment: Mapping[str, str]) -> None:
    """Add to the environment that the runs of a pool get, in place."""
    variable = template["variables"]["properties"]["env"]
    variable["default"] = {**variable.get("default", {}), **environment}


def set_default(template: Template, variable: str, value: Any) -> None:
    """Set what a variable of a pool is where a deployment does not say, in place.

    Raises:
        MistakeError: a pool of this kind has no such variable.
    """
    known = template["variables"]["properties"]
    if variable not in known:
        raise MistakeError(f"--{variable}: the runs of this pool have none: leave it out, or give another --pool")
    known[variable]["default"] = value


def block_name(variable: str) -> str:
    """Of the secret block that holds a credential: HF_TOKEN is in `hf-token`."""
    return variable.lower().replace("_", "-")


def _process(template: Template) -> None:
    """The worker's own environment reaches the run, credentials included; nothing has to be filled in."""


def _docker(template: Template) -> None:
    set_default(template, "image", IMAGE)
    add_environment(template, {"NVIDIA_VISIBLE_DEVICES": "all"})  # where NVIDIA's runtime is Docker's default
    add_environment(template, {LOCKS_VARIABLE: DEVICE_LOCKS})
    set_default(template, "volumes", [f"deepscaler-state:{STATE}"])
    set_default(template, "image_pull_policy", "IfNotPresent")
    set_default(template, "auto_remove", True)
    _add_variable(
        template, "container_create_kwargs", "object", {"shm_size": f"{SHARED_MEMORY_GIB}g"},
        "Further arguments of docker-py's containers.create; shm_size is the size of /dev/shm.",
    )  # fmt: skip
    template["job_configuration"]["container_create_kwargs"] = "{{ container_create_kwargs }}"


def _kubernetes(template: Template) -> None:
    set_default(template, "image", IMAGE)
    set_default(template, "namespace", NAMESPACE)
    _add_variable(template, "gpus", "integer", 8, "GPUs of the pod; a recipe takes all that it sees.")
    _add_variable(template, "state_claim", "string", "deepscaler-state", f"PersistentVolumeClaim, mounted at {STATE}.")
    _add_variable(
        template, "credentials_secret", "string", "deepscaler-credentials",
        f"Secret whose entries become environment variables: {', '.join(CREDENTIALS)}. May be absent.",
    )  # fmt: skip
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    container["resources"]["limits"]["nvidia.com/gpu"] = "{{ gpus }}"
    container["envFrom"] = [{"secretRef": {"name": "{{ credentials_secret }}", "optional": True}}]
    container["volumeMounts"] = [{"name": "state", "mountPath": STATE}, {"name": "shm", "mountPath": "/dev/shm"}]
    pod["volumes"] = [
        {"name": "state", "persistentVolumeClaim": {"claimName": "{{ state_claim }}"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{SHARED_MEMORY_GIB}Gi"}},
    ]
    pod["securityContext"] = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    pod["terminationGracePeriodSeconds"] = STOP_SECONDS


KINDS = {
    kind.type: kind
    for kind in (
        PoolKind("process", "prefect", _process, "Runs on the machine of its worker."),
        PoolKind("docker", "prefect-docker", _docker, "Runs in a container beside its worker."),
        PoolKind("kubernetes", "prefect-kubernetes", _kubernetes, "Runs as a job of a cluster.", reads_blocks=False),
    )
}


def _prefect_template(package: str, kind: str) -> Template:
    collection = json.loads(resources.files("prefect").joinpath(COLLECTION).read_text(encoding="utf-8"))
    template: Template = collection[package][kind]["default_base_job_configuration"]
    return template


def _add_variable(template: Template, name: str, kind: str, default: Any, description: str) -> None:
    title = name.replace("_", " ").title()
    template["variables"]["properties"][name] = {
        "title": title, "description": description, "type": kind, "default": default,
    }  # fmt: skip
