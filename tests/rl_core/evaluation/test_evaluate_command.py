"""`python -m rl_core evaluate --model-dir DIR`: what it writes, also when it was killed, and by two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rl_core.__main__ import main
from tests.rl_core.evaluation.conftest import NUM_PROBLEMS

REPOSITORY = Path(__file__).resolve().parents[3]
NUM_SAMPLES = 6
SETTINGS = ("--max-new-tokens", "48", "--verifier", "boxed", "rollout.engine=transformers")
FEW_AT_A_TIME = "evaluation.max_concurrent_sequences=4"


def arguments(model: Path, problems: Path, output: Path, *more: str, samples: int = NUM_SAMPLES) -> list[str]:
    named = ["evaluate", "--model_dir", str(model), "--data_name", str(problems), "--output", str(output)]
    return [*named, "--num-samples", str(samples), *SETTINGS, FEW_AT_A_TIME, *more]


def results_in(output: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    (file,) = output.glob("*/*.json")
    return json.loads(file.read_text()), pd.read_parquet(file.with_suffix(".parquet"))


def begun(command: list[str], output: Path) -> "subprocess.Popen[bytes]":
    """An evaluation in a process of its own that has written some samples, and has others to go."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.rl_core.evaluation.slow_evaluation", *command],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    while len(list(output.glob("*/*.samples/*.parquet"))) < 9:
        assert process.poll() is None, "it ended too early"
        time.sleep(0.01)
    return process


@pytest.fixture(scope="module")
def undisturbed(
    model_folder: Path, problem_file: Path, tmp_path_factory: pytest.TempPathFactory, world: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    output = tmp_path_factory.mktemp("undisturbed")
    assert main(arguments(model_folder, problem_file, output)) == 0
    return results_in(output)


def test_results_say_what_was_asked_of_whom_and_how(
    undisturbed: tuple[dict[str, Any], pd.DataFrame], model_folder: Path
) -> None:
    results, samples = undisturbed
    assert (results["model"], results["benchmark"]) == (str(model_folder), "sums")
    assert results["protocol_name"] == "paper with num_samples=6, max_new_tokens=48, verifier=boxed"
    assert results["num_problems"] == NUM_PROBLEMS
    assert results["protocol"]["max_new_tokens"] == 48
    assert results["dataset"]["source"]["files"][0]["name"] == "sums.jsonl"
    assert results["prompt"] == {"trained_with": None, "as_trained": None}
    assert len(results["problems"]) == NUM_PROBLEMS
    assert results["problems"][3]["answer"] == "6"
    assert set(results["pass_at_k"]) == {"1", "2", "4", "6"}
    lengths = samples.response_tokens
    assert len(samples) == NUM_PROBLEMS * NUM_SAMPLES
    assert lengths.nunique() > 5  # or the tests below would compare little
    assert results["response_tokens_mean"] == pytest.approx(lengths.mean())
    tokens = results["intervals"]["response_tokens_mean"]
    assert tokens["value"] == pytest.approx(lengths.mean())
    assert tokens["low"] < tokens["value"] < tokens["high"]
    assert results["intervals"]["truncated_fraction"]["value"] == pytest.approx(results["truncated_fraction"])
    assert [len(ids) for ids in samples.token_ids] == lengths.tolist()


def test_a_killed_evaluation_goes_on_and_ends_as_if_nothing_had_happened(
    undisturbed: tuple[dict[str, Any], pd.DataFrame],
    model_folder: Path,
    problem_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    command = arguments(model_folder, problem_file, tmp_path)
    process = begun(command, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(tmp_path.glob("*/*.samples/*.parquet")))
    assert 9 <= kept < NUM_PROBLEMS * NUM_SAMPLES
    assert list(tmp_path.glob("*/*.json")) == []
    capfd.readouterr()
    assert main(command) == 0
    assert f"goes on; {kept} of {NUM_PROBLEMS * NUM_SAMPLES} responses are there" in capfd.readouterr().out
    results, samples = results_in(tmp_path)
    assert results == undisturbed[0]
    pd.testing.assert_frame_equal(samples, undisturbed[1])
    assert list(tmp_path.glob("*/*.samples")) == []


def test_the_same_evaluation_twice_at_once_is_made_once_and_the_second_one_waits(
    undisturbed: tuple[dict[str, Any], pd.DataFrame],
    model_folder: Path,
    problem_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    world: Any,
) -> None:
    command = arguments(model_folder, problem_file, tmp_path)
    first = begun(command, tmp_path)
    assert main(command) == 0
    assert first.wait() == 0
    said = capfd.readouterr().out
    (file,) = tmp_path.glob("*/*.json")
    assert f"waiting for the results {file}, which has: an evaluation, process {first.pid}\n" in said
    assert f"{model_folder}: already evaluated\n" in said
    results, samples = results_in(tmp_path)
    assert results == undisturbed[0]
    pd.testing.assert_frame_equal(samples, undisturbed[1])
    assert {left.suffix for left in file.parent.iterdir()} == {".json", ".parquet"}


def test_two_processes_write_what_one_writes(
    undisturbed: tuple[dict[str, Any], pd.DataFrame], model_folder: Path, problem_file: Path, tmp_path: Path
) -> None:
    command = arguments(model_folder, problem_file, tmp_path, "training.num_processes=2")
    done = subprocess.run(
        [sys.executable, "-m", "rl_core", *command],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results, samples = results_in(tmp_path)
    assert results == undisturbed[0]
    pd.testing.assert_frame_equal(samples, undisturbed[1])
    assert done.stdout.count("results: ") == 1


def test_more_samples_take_over_those_that_are_there(
    model_folder: Path, problem_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], world: Any
) -> None:
    assert main(arguments(model_folder, problem_file, tmp_path, samples=1)) == 0
    command = arguments(model_folder, problem_file, tmp_path, "--second-verifier", "math_verify", samples=2)
    assert main(command) == 0
    assert f"goes on; {NUM_PROBLEMS} of {2 * NUM_PROBLEMS} responses are there" in capfd.readouterr().out
    assert main(command) == 0
    assert "already evaluated" in capfd.readouterr().out
    by_samples = {
        json.loads(file.read_text())["protocol"]["num_samples"]: json.loads(file.read_text())
        for file in tmp_path.glob("*/*.json")
    }
    assert by_samples[2]["samplers"].popitem()[1] == 2 * NUM_PROBLEMS
    assert by_samples[2]["second_verifier"]["verifier"] == "math_verify"
    # Another seed draws other samples, and takes none of these over.
    assert main(arguments(model_folder, problem_file, tmp_path, "--seed", "1", samples=1)) == 0
    assert "goes on" not in capfd.readouterr().out


def test_a_model_that_is_asked_otherwise_is_told_so_and_its_results_too(
    model_folder: Path, problem_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], world: Any
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text((REPOSITORY / "configs" / "embedded.yaml").read_text())  # trained on the bare problem
    command = arguments(model_folder, problem_file, tmp_path, "--config", str(recipe), "--protocol", "siirl", samples=1)
    assert main(command) == 0
    assert "warning: this model is not asked as it was trained: prompt_template" in capfd.readouterr().out
    results, _ = results_in(tmp_path)
    assert results["prompt"]["as_trained"] is False
    assert results["prompt"]["trained_with"]["prompt_template"] == "{problem}"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model-dir", "x"], "--data-name is needed"),
        (["--data-name", "aime24"], "--model-dir is needed"),
        (["--model-dir", "./absent", "--data-name", "aime24"], "--model-dir is './absent': no such folder"),
        (["--model-dir", "x", "--data-name", "aime42"], "--data-name: 'aime42' is not known: aime24, aime25"),
        (["--model-dir", "x", "--data-name", "a.json"], "--data-name is 'a.json': no such file"),
        (["--model-dir", "x", "--data-name", "test"], "give the file (runs/<name>/data/test.parquet)"),
        (["--model-dir", "x", "--data-name", "aime24", "--stage", "1"], "--stage is for a model of a run"),
        (["--model-dir", "x", "--data-name", "aime24", "--protocol", "papr"], "evaluation.protocol.base: Input should"),
        (["--model-dir", "x", "--data-name", "aime24", "--temperature", "0"], "temperature 0 gives one answer"),
        (["--model-dir", "x", "--data-name", "aime24", "rollout.engin=x"], "rollout.engin: unknown key"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    more: list[str], message: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *more]) == 2
    assert message in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
