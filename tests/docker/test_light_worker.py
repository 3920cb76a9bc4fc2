"""A worker without torch: what the image `light` installs is enough to read, plan and start every recipe."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.docker.dockerfiles import PROJECT

# Makes an interpreter find nothing but what the image holds; its first argument names the modules that are absent.
HIDE = """
import json, sys
absent = set(json.loads(sys.argv.pop(1)))
class WithoutThem:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [WithoutThem(finder) for finder in sys.meta_path]
"""
PLAN = """
from flows.command_line import main
sys.exit(main(sys.argv[1:]))
"""
PLAN_ALL = """
from pathlib import Path
from flows.command_line import main
print([main(["--config", str(file), "--run-dir", sys.argv[1], "--plan"]) for file in Path("configs").glob("*.yaml")])
"""
IMPORT_ALL = """
import importlib
for layer in ("flows", "tasks"):
    for file in Path(layer).glob("[a-z]*.py"):
        importlib.import_module(f"{layer}.{file.stem}")
"""


def test_every_preset_is_planned(tmp_path: Path) -> None:
    done = in_the_image(PLAN_ALL, str(tmp_path / "run"))
    presets = list((PROJECT / "configs").glob("*.yaml"))
    assert (done.stdout.splitlines()[-1:], done.stderr) == ([str([0] * len(presets))], "")


def test_a_data_set_in_parquet_is_left_to_the_stage_and_a_missing_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    plan = ("--run-dir", str(tmp_path / "run"), "--plan", f"data.test={{source: path, path: {file}}}")
    missing = in_the_image(PLAN, *plan)
    assert (missing.returncode, "rows.parquet" in missing.stderr) == (2, True)
    file.write_bytes(b"PAR1")
    present = in_the_image(PLAN, *plan)
    assert (present.returncode, present.stderr) == (0, "")


def test_every_module_of_the_upper_layers_can_be_imported() -> None:
    done = in_the_image(f"from pathlib import Path\n{IMPORT_ALL}")
    assert (done.returncode, done.stderr) == (0, "")


def in_the_image(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", HIDE + script, json.dumps(sorted(absent())), *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def absent() -> set[str]:
    """Modules that are installed here, and that no package of the orchestration lock brings."""
    lock = (PROJECT / "requirements" / "orchestration.txt").read_text(encoding="utf-8")
    held = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}
    found = {
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if not held & {canonicalize_name(name) for name in distributions}
    }
    return found - {"flows", "tasks", "rl_core", "configs", "tests"}
