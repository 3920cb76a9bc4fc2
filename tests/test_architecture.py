"""The layers: flows -> tasks -> rl_core, never back, and what may be imported where."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "vllm", "deepspeed", "transformers", "peft", "accelerate"}
FORBIDDEN = {
    "flows": HEAVY,
    "tasks": HEAVY | {"flows"},
    "rl_core": {"prefect", "flows", "tasks"},
}
WITHOUT_TORCH = [
    "flows.command_line",
    "flows.deepscaler_recipe",
    "flows.reevaluate",
    "flows.reevaluate_command",
    "tasks.train",
    "tasks.report",
    "rl_core.__main__",
    "rl_core.config",
    "rl_core.config.rehearsal",
    "rl_core.data.prepare",
    "rl_core.leaderboard.passes",
    "rl_core.leaderboard.write",
    "rl_core.opening",
    "rl_core.plan",
    "rl_core.preflight",
    "rl_core.report",
    "rl_core.rewards",
    "rl_core.types",
]


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_file_of_a_layer_imports_what_it_must_not(layer: str) -> None:
    files = list((REPOSITORY / layer).rglob("*.py"))
    assert files
    found = {
        f"{file.relative_to(REPOSITORY)} imports {name}"
        for file in files
        for name in imported(file)
        if name.partition(".")[0] in FORBIDDEN[layer]
    }
    assert found == set()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_importing_loads_nothing_heavy(module: str) -> None:
    without_prefect = module.startswith("rl_core") or "command" in module
    heavy = sorted(HEAVY | ({"prefect"} if without_prefect else set()))
    script = f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def imported(file: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names.add(node.module or "")
    return names
