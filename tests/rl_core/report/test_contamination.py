from pathlib import Path

from rl_core.manifest import read_json, write_json
from rl_core.report import write_report
from rl_core.run_dir import RunDir
from tests.rl_core.report import synthetic_run

COMPARED = "Problems are compared as text."
ELSEWHERE = "Problems are compared as text; what the base model was made from is not known here."


def report(folder: Path, *overrides: str, **trained: int) -> str:
    """Of a base model that was asked eight problems of each of some benchmarks, so many of them trained on."""
    run = synthetic_run.new_run(folder, *overrides)
    synthetic_run.write_data_and_base(run)
    own = synthetic_run.write_evaluation(run, None)
    for benchmark, count in trained.items():
        add(run, own, benchmark, count)
    return write_report(run).read_text(encoding="utf-8")


def add(run: RunDir, own: Path, benchmark: str, count: int) -> None:
    file = own if benchmark == "test" else own.with_name(f"{benchmark}-x.json")
    results = {**(read_json(own) or {}), "dataset": {"also_trained_on": count}}
    write_json(file, results if file == own else {**results, "benchmark": benchmark, "dataset_digest": benchmark})


def test_which_benchmarks_share_problems_with_the_training_is_told(tmp_path: Path) -> None:
    told = report(tmp_path / "run", test=1, aime24=0, minerva=2)
    assert (
        "Of these problems the run also trained on 1 of 8 of test and 2 of 8 of minerva: what is right there may be "
        f"memory. {COMPARED}"
    ) in told


def test_that_none_does_is_told_and_nothing_where_nobody_looked(tmp_path: Path) -> None:
    told = "None of these problems is among those that the run trained on. "
    assert told + COMPARED in report(tmp_path / "a", test=0)
    assert told + ELSEWHERE in report(tmp_path / "b", "policy.model_name=some/model", test=0)
    assert "Problems are compared as text" not in report(tmp_path / "c")
