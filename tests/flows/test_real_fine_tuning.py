"""The fifth system with its real parts, at the smallest size: fine-tuning, pairs, a reward model, PPO on one base."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rl_core.manifest import read_manifest
from tests.flows.team_server import REPOSITORY, kill_tree

PRESET = REPOSITORY / "configs" / "sft_rm_ppo_qwen2_5_math_7b.yaml"
REDUCED = [
    "embedded.train_problems=200",
    "embedded.clean_loss=3",
    "embedded.mixed_steps=10",
    "data.probe_problems=8",
    "data.test.fraction=0.08",
    "sft.max_steps=4",
    "sft.validation_every_steps=2",
    "sft.validation_rows=16",
    "pairs.num_rows=150",
    "reward_model.optimizer.learning_rate=0.01",  # it must learn something, or its guard ends the run
    "reward_model.validation_every_steps=2",
    "rollout.num_prompts=8",
    "algorithm.minibatch_sequences=8",
    "stages.0.steps=3",
    "checkpoint.every_steps=1",
    "validation.num_problems=4",
]
PARTS = (
    "download", "data", "base model", "evaluate base", "train sft", "convert sft", "evaluate sft", "pairs",
    "reward model", "train ppo", "convert ppo", "evaluate ppo", "report",
)  # fmt: skip
LONG = {"base model", "evaluate base", "train sft", "pairs", "reward model", "train ppo"}  # killed inside, too
MODELS = ("base", "sft/hf", "reward_model", "stages/1-ppo/hf")


@pytest.mark.proof
def test_killed_at_every_arrow_and_inside_each_part_the_run_ends_with_the_same_bits(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert run_until_killed(undisturbed, environment, seen=None) is None
    seen: set[str] = set()
    while (killed := run_until_killed(disturbed, environment, seen=seen)) is not None:
        assert killed not in seen
        seen.add(killed)
    assert {f"{part}: started" for part in PARTS} <= seen
    assert {f"{part}: inside" for part in LONG} <= seen
    for model in MODELS:
        assert digest(disturbed, model) == digest(undisturbed, model), model


def run_until_killed(folder: Path, environment: dict[str, str], *, seen: set[str] | None) -> str | None:
    """Run the recipe, and kill all of it at the first moment that was not seen yet; its name, None at the end.

    Args:
        seen: "<part>: started" and "<part>: inside", which is the first line of its progress; None: never kill.
    """
    folder.mkdir(exist_ok=True)
    real = {name: value for name, value in environment.items() if name != "RL_CORE_COMMAND"}
    own = [f"rehearsal.{override}" for override in REDUCED]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.deepscaler_recipe", "--config", str(PRESET), "--rehearse", *own],
        env={**real, "DEEPSCALER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        moment = moment_of(line)
        if seen is not None and moment is not None and moment not in seen:
            kill_tree(process)
            return moment
    assert process.wait() == 0, "".join(lines[-60:])
    return None


def moment_of(line: str) -> str | None:
    """Which moment of the run a line of its output tells."""
    found = re.match(rf"({'|'.join(PARTS)}): (.*)", line)
    if found is None or found[2].startswith("done"):
        return None
    return f"{found[1]}: {'started' if found[2] == 'started' else 'inside'}"


def digest(folder: Path, model: str) -> str:
    """Of a model of the run."""
    (run,) = (folder / "runs").iterdir()
    manifest = read_manifest(run / model)
    assert manifest is not None
    return str(manifest["digest"])
