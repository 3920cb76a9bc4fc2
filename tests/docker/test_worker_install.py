"""The installation of the light image, out of its Dockerfile, in a clean folder: needs a package registry and a minute.

Left out is what needs root or another root folder: apt-get, the user, tini.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.dockerfiles import DOCKER, PROJECT, lineage

WORKER = DOCKER / "worker.Dockerfile"
MOST_BYTES = 450_000_000  # measured: 358 MB with byte code; torch alone would be more

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for the image's root, with what its instructions install and copy."""
    root = tmp_path_factory.mktemp("image")
    for stage in ("locked-workers", "base"):
        folder = root / "opt" / "deepscaler"
        folder.mkdir(parents=True, exist_ok=True)
        for instruction in lineage(WORKER, stage):
            if instruction.name == "COPY":
                *sources, target = instruction.arguments
                _copy(sources, root / target.lstrip("/") if target.startswith("/") else folder / target)
            elif instruction.name == "RUN" and "apt-get" not in instruction.text:
                subprocess.run(
                    _here(instruction.text, root), shell=True, cwd=folder, env=_environment(root), check=True
                )
    (root / "var/lib/deepscaler/runs").mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    "command",
    ["prefect version", "python -m flows.deepscaler_recipe --plan", "python -c 'import flows.deepscaler_recipe'"],
)
def test_its_commands_work(root: Path, command: str) -> None:
    done = _run(root, *shlex.split(command))
    assert done.returncode == 0, done.stderr


def test_it_has_the_workers_and_no_torch(root: Path) -> None:
    kinds = "from prefect.workers.base import BaseWorker; from prefect.plugins import load_prefect_collections as load"
    done = _run(root, "python", "-c", f"{kinds}; load(); print(*BaseWorker.get_all_available_worker_types())")
    assert {"process", "docker", "kubernetes"} <= set(done.stdout.split()), done.stderr
    assert _run(root, "python", "-c", "import torch").returncode == 1
    assert sum(file.stat().st_size for file in (root / "opt/venv").rglob("*") if file.is_file()) < MOST_BYTES


def _copy(sources: list[str], target: Path) -> None:
    for source in (PROJECT / name for name in sources):
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            into = target / source.name if len(sources) > 1 or target.name == "locks" else target
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, into)


def _here(text: str, root: Path) -> str:
    """A command of the Dockerfile with the image's folders below `root`, and this Python as its Python."""
    for folder in ("/opt/", "/locks/", "/var/lib/deepscaler"):
        text = text.replace(folder, f"{root}{folder}")
    return text.replace("python -m venv", f"{sys.executable} -m venv") if text.startswith("python -m venv") else text


def _environment(root: Path) -> dict[str, str]:
    """The image's variables, and of this machine's those alone by which pip finds its registry."""
    words = [
        word for stage in ("locked", "base") for i in lineage(WORKER, stage) if i.name == "ENV" for word in i.words
    ]
    told = dict(word.split("=", 1) for word in words)
    told = {
        name: value.replace("/opt/", f"{root}/opt/").replace("/var/", f"{root}/var/") for name, value in told.items()
    }
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "HOME"}
    return {**kept, **told, "PATH": f"{root}/opt/venv/bin:/usr/bin:/bin"}


def _run(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    program = [str(root / "opt/venv/bin" / command[0]), *command[1:]]
    folder = root / "opt/deepscaler"
    return subprocess.run(program, cwd=folder, env=_environment(root), capture_output=True, text=True, check=False)
