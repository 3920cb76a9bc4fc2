from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_core.config import SFT
from rl_core.manifest import read_json, write_json
from rl_core.report import write_report
from rl_core.run_dir import RunDir
from tests.rl_core.report import synthetic_run

UNKNOWN = "Problems are compared as text; what the base model was made from is not known here."


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A base model and its evaluation on eight problems: Compute 0 + 1 < 99, and so on."""
    run = synthetic_run.new_run(tmp_path / "run")
    synthetic_run.write_data_and_base(run)
    synthetic_run.write_evaluation(run, None)
    return run


def train_on(run: RunDir, **problems: list[str]) -> None:
    for name, texts in problems.items():
        pq.write_table(pa.table({"problem": texts}), run.data / f"{name}.parquet")


def ask_more(run: RunDir, benchmark: str, problems: list[str]) -> None:
    """What the base model was asked besides."""
    (file,) = run.root.glob("evaluations/*/test-*.json")
    rows = [synthetic_run.problem_row(None, index) | {"problem": problem} for index, problem in enumerate(problems)]
    own = {"benchmark": benchmark, "dataset_digest": benchmark, "num_problems": len(problems), "problems": rows}
    write_json(file.with_name(f"{benchmark}-x.json"), {**(read_json(file) or {}), **own})


def report_of(run: RunDir) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_problems_that_are_trained_on_are_counted_however_they_are_written(run: RunDir) -> None:
    train_on(run, train=["Another one", "compute $7 + 1 < 99$", "Compute 7+1 < 99"], probe=["Compute 1 + 1 < 99"])
    assert f"the run also trained on 1 of 8 of test: what is right there may be memory. {UNKNOWN}" in report_of(run)


def test_answers_that_are_learned_and_pairs_count_and_every_benchmark_is_looked_at(run: RunDir) -> None:
    train_on(run, train=["One"], pairs=["Two"], **{SFT: ["Three", "Compute 2 + 1 < 99"]})
    ask_more(run, "minerva", ["Two", "Three", "Four"])
    ask_more(run, "aime24", ["Five"])
    assert "the run also trained on 1 of 8 of test and 2 of 3 of minerva: what is right there" in report_of(run)


def test_that_none_is_shared_is_said_and_nothing_where_it_is_not_known(run: RunDir) -> None:
    assert UNKNOWN not in report_of(run)
    train_on(run, train=["One"])
    assert f"None of these problems is among those that the run trained on. {UNKNOWN}" in report_of(run)
