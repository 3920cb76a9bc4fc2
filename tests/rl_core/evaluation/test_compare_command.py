"""`python -m rl_core compare`: files and folders of results, and what is said of them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rl_core.__main__ import main


def results(file: Path, correct: list[int], **changes: Any) -> Path:
    """An evaluation with four samples of each problem."""
    protocol = {"temperature": 0.6, "seed": 0, "num_samples": 4, **changes.pop("protocol", {})}
    rows = [
        {"index": i, "problem": f"problem {i}", "num_correct": count, "num_scored": 4}
        for i, count in enumerate(correct)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    facts = {"model": file.parent.name, "model_digest": "d1", "benchmark": "sums", "dataset_digest": "abc"}
    file.write_text(json.dumps({**facts, "protocol": protocol, "problems": rows, **changes}))
    return file


def test_two_files_are_compared_in_plain_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = results(tmp_path / "a" / "x.json", [0, 1, 2, 0, 1, 3])
    after = results(tmp_path / "b" / "x.json", [4, 4, 4, 3, 4, 4], protocol={"seed": 5, "num_samples": 9})
    assert main(["compare", str(before), str(after)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "sums, 6 problems: b (d1) against a (d1)"
    assert lines[1].startswith("  +66.7 points, 95 % from +")
    assert lines[1].endswith(": distinguishable with n=4")
    assert lines[2].startswith("  On these 6 problems themselves")
    assert len(lines) == 3  # other seeds and numbers of samples are no difference to speak of


def test_a_difference_of_protocol_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = results(tmp_path / "a.json", [1, 2])
    after = results(tmp_path / "b.json", [1, 2], protocol={"temperature": 1.0})
    assert main(["compare", str(before), str(after)]) == 0
    assert "warning: not asked alike, so that not the models alone differ: temperature 0.6, then 1.0" in (
        capfd.readouterr().out
    )


def test_folders_are_compared_on_all_that_they_share(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("sums-1.json", "other-1.json"):
        results(tmp_path / "a" / name, [1, 2, 3])
        results(tmp_path / "b" / name, [2, 2, 3])
    results(tmp_path / "a" / "alone-1.json", [1])
    assert main(["compare", "--json", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [Path(one["before"]).name for one in said] == ["other-1.json", "sums-1.json"]
    assert all(one["difference"] == pytest.approx(1 / 12) for one in said)
    assert main(["compare", "--json", str(tmp_path / "a"), str(tmp_path / "b" / "sums-1.json")]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset_digest": "xyz"}, "of different problems: sums with digest abc, and sums with digest xyz"),
        ({"problems": []}, "there is no problem with a scored sample of both"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = results(tmp_path / "a" / "x.json", [1])
    after = results(tmp_path / "b" / "x.json", [1], **change)
    assert main(["compare", str(before), str(after)]) == 2
    assert message in capfd.readouterr().err


def test_what_is_no_evaluation_is_said_to_be_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = results(tmp_path / "a.json", [1])
    (tmp_path / "b.json").write_text("{}")
    assert main(["compare", str(before), str(tmp_path / "b.json")]) == 2
    assert "b.json: holds no evaluation" in capfd.readouterr().err
    assert main(["compare", str(before), str(tmp_path / "c.json")]) == 2
    assert "c.json: no such file" in capfd.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["compare", str(tmp_path / "empty"), str(tmp_path / "empty")]) == 2
    assert "hold no results of the same benchmark under the same protocol" in capfd.readouterr().err


def test_samples_are_told_from_the_results_beside_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = results(tmp_path / "a.json", [1])
    pd.DataFrame({"reward": [1.0]}).to_parquet(tmp_path / "a.parquet")
    assert main(["compare", str(before), str(tmp_path / "a.parquet")]) == 2
    said = capfd.readouterr().err
    assert said == f"error: {tmp_path / 'a.parquet'}: holds no evaluation: give a.json beside it\n"
