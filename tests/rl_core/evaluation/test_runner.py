"""The evaluation of a run's own model, on its own problems and on another benchmark, by one engine."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rl_core.config import load_config
from rl_core.config.data import PromptConfig
from rl_core.data.parquet import load_problems
from rl_core.data.prepare import prepare_data
from rl_core.errors import MistakeError
from rl_core.evaluation.launch import evaluate_stage
from rl_core.evaluation.problems import take_benchmarks
from rl_core.evaluation.prompts import prompt_record, trained_prompt
from rl_core.manifest import publishing
from rl_core.models.base import make_base_model
from rl_core.plan import DONE, evaluation_parts
from rl_core.run_dir import RunDir

OVERRIDES = (
    "rollout.engine=transformers",
    "embedded.train_problems=300",
    "embedded.test_problems=8",
    "data.probe_problems=8",
    "evaluation.protocol={num_samples: 2, max_new_tokens: 8}",
    "training.num_processes=1",
)


@pytest.fixture
def run(tmp_path: Path, model_folder: Path) -> RunDir:
    """A run with data and a base model, asked also what is in a file: one problem that it trains on, and another."""
    own = tmp_path / "own.jsonl"
    run = RunDir(tmp_path / "run", load_config(None, [*OVERRIDES, f"evaluation.further_benchmarks=[{own}]"]))
    prepare_data(run)
    trained_on = load_problems(run.data / "train.parquet")[3]
    rows = [{"problem": f" {trained_on.problem} ", "answer": trained_on.answer}, {"problem": "9 - 9", "answer": 0}]
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with publishing(run.base, key=run.keys.base()) as folder:
        for file in model_folder.iterdir():
            shutil.copy(file, folder)
    return run


def test_every_benchmark_is_evaluated_once_and_what_is_trained_on_is_counted(
    run: RunDir, capsys: pytest.CaptureFixture[str], world: Any
) -> None:
    with pytest.raises(MistakeError, match="does not hold own yet: run `python -m rl_core prepare` first"):
        evaluate_stage(run, None)
    take_benchmarks(run)
    evaluate_stage(run, None)
    said = capsys.readouterr().out
    assert "warning: 1 problems of own are among those that this run trains on" in said
    assert "not asked as it was trained" not in said
    first, second = evaluation_parts(run, None)
    assert (first.state, second.state) == (DONE, DONE)
    test, own = (json.loads(part.path.read_text()) for part in (first, second))
    assert (test["benchmark"], test["num_problems"], own["benchmark"], own["num_problems"]) == ("test", 8, "own", 2)
    assert own["dataset"]["also_trained_on"] == 1
    assert test["prompt"]["as_trained"] is own["prompt"]["as_trained"] is True
    evaluate_stage(run, None)
    assert "base: already evaluated" in capsys.readouterr().out


def test_a_benchmark_that_has_changed_since_it_was_taken_is_refused(run: RunDir, tmp_path: Path) -> None:
    take_benchmarks(run)
    take_benchmarks(run)
    with (tmp_path / "own.jsonl").open("a") as file:
        file.write(json.dumps({"problem": "1 + 1", "answer": "2"}) + "\n")
    with pytest.raises(MistakeError, match=r"evaluation.further_benchmarks.path is .* has changed since this run"):
        take_benchmarks(run)


def test_nobody_knows_how_a_base_model_was_trained_that_the_run_takes_from_elsewhere(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], world: Any
) -> None:
    run = RunDir(tmp_path / "run", load_config(None, [*OVERRIDES, f"policy.model_name={model_folder}"]))
    prepare_data(run)
    make_base_model(run)
    evaluate_stage(run, None)
    assert "warning: nothing says what this model was trained on" in capsys.readouterr().out
    (part,) = evaluation_parts(run, None)
    assert json.loads(part.path.read_text())["prompt"] == {"trained_with": None, "as_trained": None}


def test_of_a_base_model_that_has_a_record_it_is_known(tmp_path: Path, model_folder: Path) -> None:
    trained = PromptConfig(prompt_template="Q: {problem}")
    source = tmp_path / "trained"
    with publishing(source, key="x", prompt=prompt_record(trained)) as folder:
        shutil.copytree(model_folder, folder, dirs_exist_ok=True)
    run = RunDir(tmp_path / "run", load_config(None, [*OVERRIDES, f"policy.model_name={source}"]))
    make_base_model(run)
    assert trained_prompt(run.base) == trained
