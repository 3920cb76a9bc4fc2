"""Everything that the project's deployments need on a Prefect server, and the deployments themselves.

    python -m flows.deployments [--pool KIND] [--image IMAGE] [--namespace NAME] [--machines N]
                                 [--store-credentials] [--overwrite-pool]

What is there already is kept, so that it can be run after every change. The deployments are those of prefect.yaml, as
`prefect deploy --all` makes them. Prefect is imported only when there is something to do.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import yaml

from flows.ending import EXIT_FAILED
from flows.server import API_VARIABLE, check_answers, interface_address
from flows.settings import PROJECT, apply_prefect_settings
from flows.work_pools import CREDENTIALS, IMAGE, KINDS, NAMESPACE, PoolKind
from rl_core.config import load_config, load_reevaluation
from rl_core.config.form import form_values
from rl_core.errors import EXIT_MISTAKE, MistakeError

MODULE = "flows.deployments"
AUTH_VARIABLE = "PREFECT_API_AUTH_STRING"
PREFECT_FILE = PROJECT / "prefect.yaml"


def presets() -> dict[str, dict[str, Any]]:
    """The values of each preset's form, by its name: the step of prefect.yaml before a deployment is made."""
    files = sorted((PROJECT / "configs").glob("*.yaml"))
    recipes = {file.stem: form_values(load_config(file)) for file in files}
    return {**recipes, "reevaluation": load_reevaluation().model_dump(mode="json")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is that of `rl_core.errors`, or 1 where a deployment could not be made."""
    options = _parser().parse_args(arguments)
    apply_prefect_settings()
    try:
        address = _server()
        for line in _provided(options, address):
            print(line, flush=True)
        return _deploy(KINDS[options.pool], address)
    except MistakeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return EXIT_MISTAKE


def _server() -> str:
    """The server that Prefect's settings name, which answers."""
    from prefect.settings import get_current_settings

    address = get_current_settings().api.url
    if not address:
        raise MistakeError(
            f"{API_VARIABLE} is not set: deployments are kept by a server; start one (prefect server start) and set "
            f"{API_VARIABLE} to its API, for example http://127.0.0.1:4200/api"
        )
    check_answers(address)
    return address


def _provided(options: argparse.Namespace, address: str) -> list[str]:
    """What `_provision` says; a server that refuses it, in one message."""
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        return _provision(options)
    except PrefectHTTPStatusError as refusal:
        answer = refusal.response
        hint = f": set {AUTH_VARIABLE}, as the server asks for it" if answer.status_code in (401, 403) else ""
        raise MistakeError(
            f"{API_VARIABLE}={address}: the server refused {answer.request.method} {answer.request.url.path} with "
            f"HTTP {answer.status_code}{hint}"
        ) from None


def _provision(options: argparse.Namespace) -> list[str]:
    from prefect.client.orchestration import get_client

    from flows.provision import make_limit, make_pool, store_credentials

    if options.store_credentials and not any(map(os.environ.get, CREDENTIALS)):
        raise MistakeError(f"--store-credentials: none of {', '.join(CREDENTIALS)} is set in this environment")
    defaults = {name: value for name in ("image", "namespace") if (value := getattr(options, name)) is not None}
    with get_client(sync_client=True) as client:
        stored = store_credentials() if options.store_credentials else ()
        pool = make_pool(client, KINDS[options.pool], overwrite=options.overwrite_pool, defaults=defaults)
        return [*stored, *pool, *make_limit(client, options.machines)]


def _deploy(kind: PoolKind, address: str) -> int:
    """Make the deployments of prefect.yaml in the pool."""
    definition = yaml.safe_load(PREFECT_FILE.read_text(encoding="utf-8"))
    for deployment in definition["deployments"]:
        deployment["work_pool"]["name"] = kind.name
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(definition, file)
        file.flush()
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file.name]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"failed: prefect deploy --all ended with code {done.returncode}", file=sys.stderr)
        print(done.stdout + done.stderr, file=sys.stderr)
        return EXIT_FAILED
    for deployment in definition["deployments"]:
        print(f"deployment {deployment['name']}: made in {kind.name}")
    print(f"\nstart a run: {interface_address(address)}/deployments")
    print(f"a worker takes it: prefect worker start --pool {kind.name}")
    return 0


def _at_least_one(text: str) -> int:
    """A number of machines as argparse takes it: with 0, nothing would ever compute."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description="Make the work pool, its queues, the limit on devices and the deployments of prefect.yaml on the "
        f"Prefect server that {API_VARIABLE} names. What is there already is kept.",
    )
    parser.add_argument(
        "--pool", choices=KINDS, default="process", help="where runs are: on the worker's machine, in Docker, a cluster"
    )
    parser.add_argument("--image", help=f"of runs in Docker and a cluster, with its registry (default: {IMAGE})")
    parser.add_argument("--namespace", help=f"of a cluster, where runs are jobs (default: {NAMESPACE})")
    parser.add_argument(
        "--machines",
        type=_at_least_one,
        metavar="N",
        help="how many machines compute at a time (default: 1, or what is set)",
    )
    parser.add_argument(
        "--store-credentials",
        action="store_true",
        help=f"keep {', '.join(CREDENTIALS)}, as far as they are set here, in secret blocks of the server",
    )
    parser.add_argument("--overwrite-pool", action="store_true", help="make the pool's job template again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
