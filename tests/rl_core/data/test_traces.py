"""Which of a row's traces is learned, and which rows are set aside."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_core.config import RecipeConfig, check_config
from rl_core.config.sft import TracesConfig
from rl_core.data.parquet import load_problems
from rl_core.data.prepare import prepare_data
from rl_core.data.raw import RawRow
from rl_core.data.traces import NO_SOLUTION, NO_TRACE, choose_answers
from rl_core.errors import MistakeError
from rl_core.manifest import read_manifest
from rl_core.run_dir import RunDir

TEMPLATE = "{problem}"


def row(number: int = 0, **values: Any) -> dict[str, Any]:
    return {
        "problem": f"What is {number} + {number}?",
        "answer": str(2 * number),
        "solution": "Add them.",
        "generations": [
            "<think>\nlong and right\n</think>\nIt is \\boxed{0}, as was thought.",
            "short, wrong",
            "right",
        ],
        "correctness_math_verify": [True, False, True],
        "correctness_llama": None,
        "is_reasoning_complete": [True, True, True],
        **values,
    }


def learned(values: dict[str, Any], **config: Any) -> str | None:
    """The answer that is learned of one row; None where it is set aside."""
    read, kept, set_aside = choose_answers(
        [RawRow("file", 0, values)], TracesConfig(source="embedded", **config), TEMPLATE
    )
    assert read == len(kept) + len(set_aside) == 1
    return kept[0].solution if kept else None


def test_the_shortest_verified_trace_is_learned() -> None:
    assert learned(row()) == "right"
    assert learned(row(correctness_math_verify=[True, False, False])) == row()["generations"][0]


def test_either_verifier_is_enough_and_one_that_was_not_asked_says_nothing() -> None:
    assert learned(row(correctness_math_verify=[False] * 3, correctness_llama=[False, False, True])) == "right"
    assert learned(row(correctness_math_verify=None, correctness_llama=None)) is None
    assert learned(row(correctness_math_verify=[None, None, True])) == "right"


def test_a_trace_that_did_not_end_is_not_learned() -> None:
    assert learned(row(is_reasoning_complete=[True, True, False])) == row()["generations"][0]
    assert learned(row(is_reasoning_complete=[False, True, False])) is None
    assert learned(row(is_reasoning_complete=[False] * 3), complete_column=None) == "right"


def test_of_a_trace_what_stands_behind_its_thought_can_be_learned_alone() -> None:
    assert learned(row(), response="trace_answer") == "It is \\boxed{0}, as was thought."
    assert learned(row(correctness_math_verify=[False, False, True]), response="trace_answer") is None


def test_a_solution_without_a_box_gets_the_answer_in_one() -> None:
    assert learned(row(3), response="solution") == "Add them.\n\nTherefore, the final answer is \\boxed{6}."
    boxed = "So \\boxed{6}."
    assert learned(row(3, solution=boxed), response="solution") == boxed
    assert learned(row(solution=None), response="solution") is None


def test_rows_without_an_answer_to_learn_are_told_by_reason_and_without_their_traces() -> None:
    rows = [row(), row(1, generations=[]), row(2, problem=" "), row(3, answer=None)]
    raw = [RawRow("file", number, values) for number, values in enumerate(rows)]
    _, kept, set_aside = choose_answers(raw, TracesConfig(source="embedded"), TEMPLATE)
    assert [one.raw.row for one in kept] == [0]
    assert [one.reason for one in set_aside] == [NO_TRACE, "no problem", "no answer"]
    assert all(set(one.raw.values) == {"problem"} for one in (*kept, *set_aside))
    _, _, set_aside = choose_answers(raw[3:], TracesConfig(source="embedded", response="solution"), TEMPLATE)
    assert [one.reason for one in set_aside] == ["no answer"]
    without = [RawRow("file", 0, row(solution=""))]
    assert choose_answers(without, TracesConfig(source="embedded", response="solution"), TEMPLATE)[2][0].reason == (
        NO_SOLUTION
    )


def recipe(folder: Path, **traces: Any) -> RecipeConfig:
    problems = [{"problem": f"What is {n} + {n}?", "answer": str(2 * n), "solution": ""} for n in range(6)]
    (folder / "train.json").write_text(json.dumps(problems[2:]))
    (folder / "test.json").write_text(json.dumps(problems[:2]))
    values = {
        "name": "trial",
        "data": {
            "train": {"source": "path", "path": str(folder / "train.json")},
            "test": {"source": "path", "path": str(folder / "test.json")},
            "prompt_template": TEMPLATE,
            "probe_problems": 1,
        },
        "policy": {"model_name": "some/model"},
        "sft": {"data": {"source": "path", "path": str(folder / "traces.parquet"), **traces}},
        "stages": [{"name": "only", "steps": 1, "max_response_tokens": 8}],
    }
    return check_config(values, origin="test")


def write_traces(folder: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / "traces.parquet")


def test_prepare_leaves_no_answer_to_a_problem_of_test_or_probe_and_each_problem_once(tmp_path: Path) -> None:
    write_traces(tmp_path, [row(n) for n in (*range(10), 9)])
    run = RunDir(tmp_path / "run", recipe(tmp_path))
    prepare_data(run)
    (probe,) = load_problems(run.data / "probe.parquet")
    answers = load_problems(run.data / "sft.parquet")
    test = {problem.problem for problem in load_problems(run.data / "test.parquet")}
    expected = {row(n)["problem"] for n in range(10)} - test - {probe.problem}
    assert {answer.problem for answer in answers} == expected
    assert len(answers) == 7
    assert {answer.solution for answer in answers} == {"right"}
    assert answers[0].messages == ({"role": "user", "content": answers[0].problem},)
    manifest = read_manifest(run.data)
    assert manifest is not None
    assert manifest["rows_read"]["sft"] == 11
    assert manifest["set_aside"]["sft"] == {"also in test": 2, "duplicate": 1, "also in the probe": 1}
    assert manifest["sources"]["sft"]["files"][0]["name"] == "traces.parquet"


def test_no_answer_to_a_problem_of_pairs_is_learned(tmp_path: Path) -> None:
    write_traces(tmp_path, [row(n) for n in range(10)])
    values = recipe(tmp_path).model_dump(mode="json") | {
        "pairs": {"first_row": 0, "num_rows": 2},
        "reward_model": {},
        "rewards": [{"name": "reward_model", "kwargs": {"model": "trained"}}],
    }
    run = RunDir(tmp_path / "run", check_config(values, origin="test"))
    prepare_data(run)
    pairs = {problem.problem for problem in load_problems(run.data / "pairs.parquet")}
    assert len(pairs) == 2
    assert not pairs & {answer.problem for answer in load_problems(run.data / "sft.parquet")}
    manifest = read_manifest(run.data)
    assert manifest is not None
    assert manifest["set_aside"]["sft"]["also among the pairs"] == 2


def test_a_column_that_is_not_there_and_data_without_any_verified_trace_are_mistakes(tmp_path: Path) -> None:
    write_traces(tmp_path, [row(n) for n in range(4)])
    with pytest.raises(MistakeError, match=r"sft\.data\.traces_column is 'texts', but traces\.parquet has no such"):
        prepare_data(RunDir(tmp_path / "a", recipe(tmp_path, traces_column="texts")))
    with pytest.raises(MistakeError, match=r"sft\.data\.verified_columns\.0 is 'judged'"):
        prepare_data(RunDir(tmp_path / "b", recipe(tmp_path, verified_columns=["judged"])))
    write_traces(tmp_path, [row(n, correctness_math_verify=[False] * 3) for n in range(4)])
    with pytest.raises(MistakeError, match=r"sft\.data: none of the 4 rows read can be used \(4 no verified trace\)"):
        prepare_data(RunDir(tmp_path / "c", recipe(tmp_path)))


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        ({"response": "solution", "traces_column": "texts"}, "traces_column does nothing with response: solution"),
        ({"solution_column": "worked"}, "solution_column does nothing with response: trace"),
        ({"column": "x"}, r"sft\.data\.column: unknown key"),
        ({"source": "hub"}, "source: hub needs `repo_id` and `files`"),
    ],
)
def test_settings_of_traces_that_cannot_be_are_refused(tmp_path: Path, traces: dict[str, Any], message: str) -> None:
    with pytest.raises(MistakeError, match=message):
        recipe(tmp_path, **traces)


def test_rows_of_pairs_are_in_a_file_of_their_own_and_not_trained_on(tmp_path: Path) -> None:
    write_traces(tmp_path, [row(n) for n in range(10)])
    values = recipe(tmp_path).model_dump(mode="json")
    values |= {"pairs": {"first_row": 1, "num_rows": 2}, "reward_model": {}}
    values |= {"rewards": [{"name": "reward_model", "kwargs": {"model": "trained"}}]}
    run = RunDir(tmp_path / "run", check_config(values, origin="test"))
    prepare_data(run)
    pairs = {problem.problem for problem in load_problems(run.data / "pairs.parquet")}
    assert pairs == {row(n)["problem"] for n in (3, 4)}
    rest = [problem.problem for name in ("train", "probe") for problem in load_problems(run.data / f"{name}.parquet")]
    assert sorted(rest) == [row(n)["problem"] for n in (2, 5)]
    values["pairs"]["first_row"] = 9
    with pytest.raises(MistakeError, match=r"pairs\.first_row is 9, but data\.train has 4 rows"):
        prepare_data(RunDir(tmp_path / "beyond", check_config(values, origin="test")))
    values["pairs"] |= {"first_row": 0, "num_rows": 4}
    with pytest.raises(MistakeError, match="pairs: its rows are 4 of the 4 training problems"):
        prepare_data(RunDir(tmp_path / "all", check_config(values, origin="test")))
