"""The Dockerfiles, as far as they can be judged without building: form, pins, users, and what is copied."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

from rl_core import __version__
from tests.docker.dockerfiles import DOCKER, DOCKERFILES, PROJECT, Instruction, lineage, stages
from tests.docker.programs import run

WORKER, TRAINER = DOCKER / "worker.Dockerfile", DOCKER / "trainer.Dockerfile"
IMAGES = [(WORKER, "light"), (WORKER, "cpu"), (TRAINER, "trainer")]
EXACT = re.compile(r"[a-z/]+:\d+\.\d+\.\d+-[a-z0-9.-]+(@sha256:[0-9a-f]{64})?")
each_file = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
each_image = pytest.mark.parametrize(("dockerfile", "stage"), IMAGES, ids=lambda value: getattr(value, "name", value))


@each_file
def test_a_linter_finds_nothing(dockerfile: Path) -> None:
    done = run("hadolint", "--no-color", dockerfile)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@each_file
def test_every_base_image_is_named_by_exact_version(dockerfile: Path) -> None:
    every = stages(dockerfile)
    bases = {stage.parent for stage in every.values()} - set(every)
    assert bases
    assert [base for base in bases if not EXACT.fullmatch(base)] == []


@each_image
def test_an_image_runs_as_a_user_with_a_number_and_never_turns_back(dockerfile: Path, stage: str) -> None:
    users = [instruction.text for instruction in lineage(dockerfile, stage) if instruction.name == "USER"]
    numbers = [instruction.text for instruction in lineage(dockerfile, stage) if instruction.text.startswith("UID=")]
    assert users == ["$UID"]
    assert numbers == ["UID=1000"]


@each_image
def test_what_an_image_copies_is_in_the_tree_and_in_the_context(dockerfile: Path, stage: str) -> None:
    sources = [source for instruction in lineage(dockerfile, stage) for source in copied(instruction)]
    assert "rl_core" in sources
    assert [source for source in sources if not (PROJECT / source).exists()] == []
    assert [source for source in sources if not in_context(source)] == []


@each_file
def test_every_lock_that_an_image_installs_is_copied_and_asked_for_with_its_hashes(dockerfile: Path) -> None:
    instructions = [instruction for stage in stages(dockerfile).values() for instruction in stage.instructions]
    text = " ".join(instruction.text for instruction in instructions if instruction.name == "RUN")
    installed = set(re.findall(r"--requirement /locks/(\S+)", text))
    brought = {Path(source).name for i in instructions for source in copied(i) if source.startswith("requirements/")}
    assert installed == brought != set()
    for command in text.split("&&"):
        if "--requirement" in command and "/locks/torch.txt" not in command:
            assert "--no-deps --require-hashes" in command


def test_the_light_image_has_no_torch() -> None:
    installed = " ".join(instruction.text for instruction in lineage(WORKER, "locked-workers"))
    assert set(re.findall(r"[\w-]+\.txt", installed)) == {"orchestration.txt", "workers.txt"}
    assert [i.text for i in stages(WORKER)["light"].of("COPY")] == ["--from=locked-workers /opt/venv /opt/venv"]


def test_all_images_hold_the_project_alike() -> None:
    trainer = [i for i in lineage(TRAINER, "trainer") if i.name in ("WORKDIR", "ENTRYPOINT", "CMD", "COPY", "USER")]
    alike = [i for i in trainer if "/locks/" not in i.text]
    worker = [i for i in lineage(WORKER, "base") if i.name in ("WORKDIR", "ENTRYPOINT", "CMD", "COPY", "USER")]
    assert worker == alike
    assert environment(WORKER, "base").items() <= environment(TRAINER, "trainer").items()


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "runs/embedded/config.yaml",
        "docker/.env",
        "rl_core/__pycache__/a.pyc",
        ".env",
    ],
)
def test_no_run_no_cache_and_no_credential_reaches_a_build(path: str) -> None:
    assert not in_context(path)


@each_image
def test_an_image_says_how_it_is_found_well(dockerfile: Path, stage: str) -> None:
    checks = [instruction for instruction in lineage(dockerfile, stage) if instruction.name == "HEALTHCHECK"]
    assert len(checks) == 1
    command = json.loads(checks[0].text.partition("CMD ")[2])
    assert command == ["python", "docker/healthy.py", "http://127.0.0.1:8080/health"]


def test_scripts_are_clean() -> None:
    scripts = [path for path in DOCKER.rglob("*") if path.suffix in (".sh", ".sbatch")]
    assert scripts
    done = run("shellcheck", *scripts)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_commands_that_build_are_in_the_files_themselves_and_name_this_version() -> None:
    for dockerfile in DOCKERFILES:
        head = dockerfile.read_text(encoding="utf-8").split("FROM")[0]
        assert f"docker build --file docker/{dockerfile.name} " in head
        assert f":{__version__} .\n" in head


def copied(instruction: Instruction) -> list[str]:
    """The sources of a COPY out of the build context."""
    if instruction.name != "COPY" or any(word.startswith("--from=") for word in instruction.words):
        return []
    return instruction.arguments[:-1]


def environment(dockerfile: Path, stage: str) -> dict[str, str]:
    pairs = [word for i in lineage(dockerfile, stage) if i.name == "ENV" for word in i.words]
    return dict(pair.split("=", 1) for pair in pairs)


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a file through: the last line that matches it or a folder above it decides."""
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    here = PurePosixPath(path)
    taken = True
    for line in lines:
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and any(matches(p, pattern) for p in (here, *here.parents)):
            taken = line.startswith("!")
    return taken


def matches(path: PurePosixPath, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(path.name, pattern[3:])
    return len(path.parts) == pattern.count("/") + 1 and fnmatch(str(path), pattern)
