"""The recipe with its real parts, at the smallest size: the real stages, Prefect, DeepSpeed, conversion, report."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.flows.team_server import REPOSITORY, kill_tree

STAGES = ("1-8k", "2-16k", "3-24k")
CHAT_TEMPLATE = "{% for message in messages %}<|user|>{{ message.content }}<|assistant|>{% endfor %}"
TINY = [
    "embedded.train_problems=96",
    "embedded.test_problems=16",
    "embedded.clean_loss=50",
    "embedded.mixed_steps=10",
    "data.probe_problems=8",
    f"data.chat_template='{CHAT_TEMPLATE}'",
    "rollout.num_prompts=4",
    "rollout.num_samples=4",
    "algorithm.minibatch_sequences=8",
    "stages.0.steps=4",
    "stages.1.steps=4",
    "stages.2.steps=4",
    "checkpoint.every_steps=2",
    "validation.num_samples=1",
    "evaluation.protocol.num_samples=2",
]
KILLS = 5


@pytest.mark.slow
def test_the_whole_recipe_ends_in_a_report_and_done_parts_are_not_repeated(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    run = tmp_path / "run"
    first = _finish(run, tmp_path, environment)
    assert (run / "report.md").is_file()
    assert (run / "report.html").is_file()
    assert f"report: {run / 'report.md'}" in first.stdout
    for stage in STAGES:
        _assert_loads_by_path_alone(run / "stages" / stage / "hf")
        assert _verification(run, stage)["logits_max_difference"] <= 1e-4
    assert len(list((run / "evaluations").glob("*/test-*.json"))) == 4
    assert list((run / "wandb").glob("offline-run-*"))

    written = _modification_times(run)
    second = _finish(run, tmp_path, environment)
    assert "train 24k: done already" in second.stdout
    assert _modification_times(run) == written


@pytest.mark.proof
def test_killed_at_five_random_moments_the_run_ends_with_the_same_bits(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    start = time.monotonic()
    undisturbed = tmp_path / "undisturbed"
    _finish(undisturbed, tmp_path / "a", environment)
    seconds = time.monotonic() - start
    killed = tmp_path / "killed"
    moments = random.Random(0)
    for _ in range(KILLS):
        _kill_after(moments.uniform(0.05, 0.4) * seconds, killed, tmp_path / "b", environment)
    _finish(killed, tmp_path / "b", environment)
    assert (killed / "base" / "model.safetensors").read_bytes() == (
        undisturbed / "base" / "model.safetensors"
    ).read_bytes()
    for stage in STAGES:
        weights = Path("stages") / stage / "hf" / "model.safetensors"
        assert (killed / weights).read_bytes() == (undisturbed / weights).read_bytes(), stage
        assert _metrics(killed, stage) == _metrics(undisturbed, stage)


def _command(run: Path) -> list[str]:
    return [sys.executable, "-m", "flows.deepscaler_recipe", "--run-dir", str(run), *TINY]


def _environment(state: Path, environment: dict[str, str]) -> dict[str, str]:
    """The real stages, and a cache of base models that no other run has filled."""
    real = {name: value for name, value in environment.items() if name != "RL_CORE_COMMAND"}
    return {**real, "DEEPSCALER_CACHE": str(state / "cache"), "OMP_NUM_THREADS": "1"}


def _finish(run: Path, state: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        _command(run), cwd=REPOSITORY, env=_environment(state, environment), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def _kill_after(seconds: float, run: Path, state: Path, environment: dict[str, str]) -> None:
    """Start the command and kill it, with everything that it started, at once."""
    process = subprocess.Popen(
        _command(run),
        cwd=REPOSITORY,
        env=_environment(state, environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    assert process.poll() is None, "the run ended before it was killed"
    kill_tree(process)


def _assert_loads_by_path_alone(folder: Path) -> None:
    program = (
        "import sys; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "text = 'Compute 12 a+5 b-6'\n"
        "assert tokenizer.decode(tokenizer(text)['input_ids']) == text\n"
        "assert model.config.vocab_size == len(tokenizer)\n"
        f"assert tokenizer.chat_template == {CHAT_TEMPLATE!r}\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, cwd=folder)


def _verification(run: Path, stage: str) -> dict[str, float]:
    verification: dict[str, float] = json.loads((run / "stages" / stage / "hf" / "verification.json").read_text())
    return verification


def _modification_times(run: Path) -> dict[str, int]:
    kept = ("data", "base", "stages", "evaluations")
    return {str(file): file.stat().st_mtime_ns for name in kept for file in (run / name).rglob("*") if file.is_file()}


def _metrics(run: Path, stage: str) -> list[dict[str, object]]:
    """The lines of a stage without what depends on the clock or on memory."""
    lines = (run / "stages" / stage / "metrics.jsonl").read_text().splitlines()
    varying = ("_seconds", "_bytes", "_per_second", "_tail_fraction")
    return [{name: value for name, value in json.loads(line).items() if not name.endswith(varying)} for line in lines]
