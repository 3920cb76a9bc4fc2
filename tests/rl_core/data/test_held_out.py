"""A test set out of the training rows: which rows, and that none of their problems is trained on."""

from typing import Any

import pyarrow.parquet as pq
import pytest

from rl_core.data.held_out import hold_out
from rl_core.data.parquet import load_problems
from rl_core.data.prepare import prepare_data
from rl_core.data.raw import RawRow
from rl_core.data.rows import comparable
from rl_core.errors import MistakeError
from rl_core.manifest import read_manifest


def raw(count: int) -> list[RawRow]:
    return [RawRow("rows.json", index, {}) for index in range(count)]


@pytest.mark.parametrize(
    ("count", "fraction", "seed", "drawn"),
    [  # printed by datasets 5.2.0: Dataset.train_test_split(test_size=fraction, seed=seed)["test"], sorted
        (40, 0.1, 15, [5, 9, 15, 30]),
        (30, 0.1, 15, [15, 22, 23]),
        (7, 0.5, 0, [2, 3, 4, 6]),
    ],
)
def test_the_rows_are_those_that_the_package_datasets_draws(
    count: int, fraction: float, seed: int, drawn: list[int]
) -> None:
    kept, held_out = hold_out(raw(count), fraction, seed)
    assert [row.row for row in held_out] == drawn
    assert [row.row for row in kept] == [index for index in range(count) if index not in drawn]


def test_something_is_left_to_train_on() -> None:
    with pytest.raises(MistakeError, match=r"data\.test\.fraction is 0\.9: of 3 training rows none is left"):
        hold_out(raw(3), 0.9, 15)


def test_no_problem_of_the_test_set_is_trained_on_in_any_spelling(make_run: Any, write_json: Any) -> None:
    rows = [{"problem": f"What is {n} + 1?", "answer": str(n + 1), "solution": None} for n in range(40)]
    rows[0] = {"problem": "what is $30$ + 1?", "answer": "31", "solution": None}  # 30 is drawn, see above
    rows[9] = {"problem": "What is 5+1?", "answer": "6", "solution": None}  # and so are 5 and 9
    run = make_run(
        {"source": "path", "path": str(write_json("rows.json", rows))}, {"source": "held_out"}, probe_problems=6
    )
    prepare_data(run)
    problems = {
        split: [comparable(problem.problem) for problem in load_problems(run.data / f"{split}.parquet")]
        for split in ("train", "test", "probe")
    }
    assert {split: len(found) for split, found in problems.items()} == {"train": 29, "test": 3, "probe": 6}
    every = [problem for found in problems.values() for problem in found]
    assert len(set(every)) == len(every)
    facts = read_manifest(run.data)
    assert facts is not None
    assert facts["rows_read"] == {"train": 36, "test": 4}
    assert facts["set_aside"] == {"train": {"also in test": 1}, "test": {"duplicate": 1}}
    assert facts["sources"]["test"] == {"source": "held_out", "fraction": 0.1, "seed": 15, "files": []}


def test_the_rows_say_which_data_set_they_are_of_and_are_read_by_its_columns(make_run: Any, write_json: Any) -> None:
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(20)]
    train = {"source": "path", "path": str(write_json("sums.json", rows)), "problem_column": "question"}
    run = make_run({**train, "solution_column": None}, {"source": "held_out", "fraction": 0.25, "seed": 3})
    prepare_data(run)
    test = pq.read_table(run.data / "test.parquet").to_pylist()
    assert len(test) == 5
    assert {row["data_source"] for row in test} == {"sums"}
    assert {row["extra_info"]["split"] for row in test} == {"test"}


def test_the_embedded_task_can_be_tested_on_rows_of_its_own(make_run: Any) -> None:
    run = make_run({"source": "embedded"}, {"source": "held_out"}, prompt_template="{problem}", probe_problems=4)
    prepare_data(run)
    assert len(load_problems(run.data / "test.parquet")) == 4
