"""Figures keep under what they were taken, and are shown in as many digits as mean something."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.circumstances import circumstances, commit
from benchmarks.outcome import RESULTS, Spread, arguments, interleaved, print_table, shown, write_outcome


def test_a_commit_is_marked_once_tracked_code_differs_from_it(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True, text=True
        ).stdout

    for name in ("code.py", "README.md", "benchmarks/results/grading.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD").strip()
    (tmp_path / "README.md").write_text("second")
    (tmp_path / "benchmarks/results/grading.json").write_text("second")
    assert commit(tmp_path / "benchmarks") == head
    (tmp_path / "code.py").write_text("second")
    assert commit(tmp_path / "benchmarks") == f"{head}-changed"


def test_a_folder_without_git_has_no_commit_and_says_so(tmp_path: Path) -> None:
    assert commit(tmp_path) == "unknown: not a git checkout"


def test_circumstances_name_the_machine_but_none_of_its_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pytest", "/home/someone/problems.json", "--quick"])
    found = circumstances()
    assert str(found["command"]).endswith("problems.json --quick")
    assert "/home/someone" not in json.dumps(found)
    assert isinstance(found["cores"], int)
    assert found["cores"] > 0
    assert isinstance(found["versions"], dict)
    assert "torch" in found["versions"]


def test_repetitions_take_turns() -> None:
    order: list[str] = []
    works = {name: (lambda name=name: order.append(name) or len(order)) for name in ("ours", "theirs")}
    assert interleaved(works, 2) == {"ours": [1, 3], "theirs": [2, 4]}
    assert order == ["ours", "theirs", "ours", "theirs"]


def test_a_spread_is_a_median_between_its_ends() -> None:
    spread = Spread.of([3.0, 1.0, 2.5])
    assert (spread.median, spread.low, spread.high, spread.repetitions) == (2.5, 1.0, 3.0, 3)
    assert str(spread) == "2.5 (1 to 3)"
    assert str(Spread.of([0.03516])) == "0.0352"


@pytest.mark.parametrize(
    ("value", "cell"),
    [(12345, "12,345"), (12345.6, "12,346"), (47.26, "47.3"), (0.03516, "0.0352"), (None, "-"), ("8K", "8K")],
)
def test_cells_are_written_with_the_digits_that_mean_something(value: object, cell: str) -> None:
    assert shown(value) == cell


def test_an_outcome_is_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Weights", [{"model": "small", "seconds": Spread.of([1.0, 2.0])}, {"model": "large", "seconds": None}])
    table = capsys.readouterr().out
    assert "1.5 (1 to 2)" in table
    assert "large" in table
    file = tmp_path / "results" / "weights.json"
    write_outcome(file, {"seconds": Spread.of([1.0, 2.0])}, {"commit": "abc"})
    expected = {"seconds": {"median": 1.5, "min": 1.0, "max": 2.0, "repetitions": 2}, "commit": "abc"}
    assert json.loads(file.read_text()) == expected


def test_results_are_kept_in_the_repository_unless_told_otherwise() -> None:
    assert arguments("grading", "Summary.\n\nMore.").parse_args([]).json == RESULTS / "grading.json"
