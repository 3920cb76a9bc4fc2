import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_core.data.parquet import dataset_digest, load_problems
from rl_core.data.prepare import prepare_data
from rl_core.errors import MistakeError
from rl_core.manifest import read_manifest
from rl_core.run_dir import RunDir

SUFFIX = " Let's think step by step and output the final answer within \\boxed{}."


def from_path(file: Path, **more: Any) -> dict[str, Any]:
    return {"source": "path", "path": str(file), **more}


def rows(count: int) -> list[dict[str, Any]]:
    return [{"problem": f"What is {n} + 1?", "answer": str(n + 1), "solution": f"{n + 1}"} for n in range(count)]


def manifest(run: RunDir) -> dict[str, Any]:
    found = read_manifest(run.data)
    assert found is not None
    return found


def set_aside(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.data / "set_aside.jsonl").read_text().splitlines()]


def test_deepscaler_rows_convert_to_their_own_published_prompts(make_run: Any, shared_data: Path) -> None:
    file = shared_data / "math/deepscaler_2000.json"
    train = from_path(file, problem_column="prompt", solution_column=None)
    run = make_run(train, from_path(shared_data / "math/aime24.json"), probe_problems=128)
    prepare_data(run)
    facts = manifest(run)
    assert facts["rows_read"] == {"train": 2000, "test": 30}
    assert facts["rows"] == {"train": 1856, "test": 30, "probe": 128}
    assert facts["repaired"] == {"train": {}, "test": {}}
    assert facts["set_aside"] == {"train": {"duplicate": 15, "duplicate with another answer": 1}, "test": {}}
    assert facts["template_text_removed"] == {"train": 1984, "test": 0}
    published = {row["prompt"] for row in json.loads(file.read_text())}
    problems = load_problems(run.data / "train.parquet") + load_problems(run.data / "probe.parquet")
    assert {problem.messages[0]["content"] for problem in problems} <= published
    assert not any("step by step" in problem.problem for problem in problems)


def test_forty_years_of_aime_convert_whole(make_run: Any, shared_data: Path) -> None:
    math = shared_data / "math"
    run = make_run(from_path(math / "aime_1983_2023.json"), from_path(math / "aime24.json"), probe_problems=75)
    prepare_data(run)
    facts = manifest(run)
    assert facts["rows_read"] == {"train": 975, "test": 30}
    assert facts["set_aside"] == {"train": {}, "test": {}}
    assert facts["rows"] == {"train": 900, "test": 30, "probe": 75}
    assert [problem.answer for problem in load_problems(run.data / "test.parquet")][:3] == ["204", "025", "809"]


def test_answers_as_numbers_and_lists_become_text(make_run: Any, shared_data: Path) -> None:
    math = shared_data / "math"
    amc = from_path(math / "amc.json", solution_column=None)
    run = make_run(from_path(math / "minerva.json"), amc)
    prepare_data(run)
    assert load_problems(run.data / "test.parquet")[0].answer == "142"
    assert load_problems(run.data / "train.parquet")[0].answer == "9.6"
    assert manifest(run)["set_aside"] == {"train": {"several answers": 7}, "test": {}}
    assert manifest(run)["repaired"] == {
        "train": {"the first of several spellings of one value": 33, "written as a whole number": 1},
        "test": {},
    }
    assert manifest(run)["rows"] == {"train": 264, "test": 83, "probe": 1}


def test_rows_have_the_columns_that_verl_reads(make_run: Any, write_json: Any) -> None:
    run = make_run(from_path(write_json("train.json", rows(3))), system_prompt="Be brief.")
    prepare_data(run)
    first = pq.read_table(run.data / "test.parquet").to_pylist()[0]
    assert first == {
        "problem": "Held out 0",
        "answer": "0",
        "solution": "",
        "data_source": "default_test",
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Held out 0" + SUFFIX},
        ],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "0"},
        "extra_info": {"split": "test", "index": 0},
    }
    pandas = pytest.importorskip("pandas").read_parquet(run.data / "train.parquet")
    assert list(pandas["prompt"][1])[1] == {"role": "user", "content": pandas["problem"][1] + SUFFIX}
    assert [info["index"] for info in pandas["extra_info"]] == [0, 1]


def test_unusable_rows_are_counted_by_reason_and_listed(make_run: Any, write_json: Any) -> None:
    good = rows(4)
    bad = [
        {"problem": "  ", "answer": "1", "solution": "."},
        {"problem": "No answer?", "answer": "  ", "solution": "."},
        {"problem": "Null?", "answer": None, "solution": "."},
        {"problem": "Two?", "answer": ["1", "2"], "solution": "."},
        {"problem": "Odd?", "answer": {"value": 1}, "solution": "."},
        {"problem": "what is  $0$ + 1?", "answer": "1", "solution": "."},
        {"problem": "What is 0+1?", "answer": "2", "solution": "."},
        {"problem": "Held OUT 1", "answer": "1", "solution": "."},
    ]
    run = make_run(from_path(write_json("train.json", good + bad)))
    prepare_data(run)
    reasons = [
        "no problem",
        "no answer",
        "no answer",
        "several answers",
        "answer is neither text nor a number",
        "duplicate",
        "duplicate with another answer",
        "also in test",
    ]
    assert [(entry["row"], entry["reason"]) for entry in set_aside(run)] == list(enumerate(reasons, start=4))
    assert manifest(run)["set_aside"]["train"]["no answer"] == 2
    assert set_aside(run)[5]["same_as"] == {"file": "train.json", "row": 0}
    assert set_aside(run)[7]["same_as"] == {"file": "default_test.json", "row": 1}
    assert set_aside(run)[3]["values"] == bad[3]
    assert manifest(run)["rows"] == {"train": 3, "test": 2, "probe": 1}


def test_answers_that_cannot_be_graded_are_set_aside_and_repaired_ones_used_counted_and_listed(
    make_run: Any, write_json: Any
) -> None:
    odd = [
        {"problem": "Whole?", "answer": "142.0", "solution": "."},
        {"problem": "Which?", "answer": "A \\text{ OR } B", "solution": "."},
        {"problem": "Long?", "answer": "\\frac{2 k n}{n+k-1}-2 \\frac{k!n!}{(k+n-1)!", "solution": "."},
    ]
    run = make_run(from_path(write_json("train.json", odd + rows(3))), seed=1)
    prepare_data(run)
    assert [(entry["row"], entry["reason"]) for entry in set_aside(run)] == [
        (1, "answer: alternatives that differ"),
        (2, "answer: cut off: a bracket never closes"),
    ]
    assert manifest(run)["repaired"] == {"train": {"written as a whole number": 1}, "test": {}}
    listed = [json.loads(line) for line in (run.data / "repaired.jsonl").read_text().splitlines()]
    repair = {"repair": "written as a whole number", "answer": "142"}
    assert listed == [{"split": "train", "file": "train.json", "row": 0, **repair, "values": odd[0]}]
    kept = load_problems(run.data / "train.parquet") + load_problems(run.data / "probe.parquet")
    assert sorted(problem.answer for problem in kept) == ["1", "142", "2", "3"]


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_another_probe(
    make_run: Any, write_json: Any, tmp_path: Path
) -> None:
    train = from_path(write_json("train.json", rows(200)))
    digests, probes = [], []
    for number, seed in enumerate((7, 7, 8)):
        run = make_run(train, seed=seed, probe_problems=20)
        prepare_data(run)
        digests.append(manifest(run)["digest"])
        probes.append({problem.problem for problem in load_problems(run.data / "probe.parquet")})
        run.root.rename(tmp_path / f"run_{number}")
    assert digests[0] == digests[1] != digests[2]
    assert probes[0] == probes[1] != probes[2]


def test_the_probe_is_taken_out_of_training(make_run: Any, write_json: Any) -> None:
    run = make_run(from_path(write_json("train.json", rows(50))), probe_problems=10)
    prepare_data(run)
    train, probe = (load_problems(run.data / f"{split}.parquet") for split in ("train", "probe"))
    together = {problem.problem for problem in train} | {problem.problem for problem in probe}
    assert (len(train), len(probe), len(together)) == (40, 10, 50)
    assert [problem.index for problem in probe] == list(range(10))


def test_the_digest_of_a_data_set_is_of_its_problems_and_answers(make_run: Any, write_json: Any) -> None:
    run = make_run(from_path(write_json("train.json", rows(3))))
    prepare_data(run)
    table = pq.read_table(run.data / "test.parquet")
    other_encoding, other_content = run.root / "encoding.parquet", run.root / "content.parquet"
    pq.write_table(table, other_encoding, compression="gzip")
    pq.write_table(table.slice(1), other_content)
    assert manifest(run)["dataset_digests"]["test"] == dataset_digest(other_encoding)
    assert manifest(run)["dataset_digests"]["test"] != dataset_digest(other_content)


def test_every_brace_but_the_problem_is_literal(make_run: Any, write_json: Any) -> None:
    train = [{"problem": "Solve {problem} {0} \\frac{1}{2}", "answer": "1", "solution": "."}, *rows(1)]
    run = make_run(from_path(write_json("train.json", train)), seed=3, prompt_template="Q{}: {problem} \\boxed{}")
    prepare_data(run)
    contents = {
        problem.messages[0]["content"]
        for split in ("train", "probe")
        for problem in load_problems(run.data / f"{split}.parquet")
    }
    assert "Q{}: Solve {problem} {0} \\frac{1}{2} \\boxed{}" in contents


def test_only_the_first_rows_are_kept_when_the_recipe_says_so(make_run: Any, write_json: Any) -> None:
    run = make_run(from_path(write_json("train.json", rows(50)), max_rows=5))
    prepare_data(run)
    assert manifest(run)["rows_read"] == {"train": 5, "test": 2}


def test_json_lines_and_parquet_give_what_json_gives(make_run: Any, write_json: Any, tmp_path: Path) -> None:
    lines, table, odd = tmp_path / "t.jsonl", tmp_path / "t.parquet", tmp_path / "lines.json"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows(9)) + "\n")
    odd.write_text(lines.read_text())
    pq.write_table(pa.Table.from_pylist(rows(9)), table)
    digests = set()
    for file in (write_json("t.json", rows(9)), lines, odd, table):
        run = make_run(from_path(file))
        prepare_data(run)
        digests.add(manifest(run)["dataset_digests"]["train"])
        run.root.rename(tmp_path / f"run_{file.name}")
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.json", b"[]", "data.train: t.json holds no rows"),
        ("t.json", b"[1]", "data.train: t.json cannot be read as JSON rows (row 0 is no object of named columns)"),
        ("t.json", b'[{"problem": 1', "data.train: t.json cannot be read as JSON ("),
        ("t.jsonl", b'{"problem": "a"}\n{', "line 2"),
        ("t.jsonl", b"\xff\xfe{", "data.train: t.jsonl cannot be read as JSON ('utf-8'"),
        ("t.parquet", b"PAR1 and not more", "data.train: t.parquet cannot be read as parquet ("),
        ("t.csv", b"problem,answer", "data.train.path is "),
        (
            "t.json",
            b'[{"question": "a", "answer": "1", "solution": ""}]',
            "data.train.problem_column is 'problem', but t.json has no such column: set it to one of question, answer",
        ),
        (
            "t.json",
            b'[{"problem": "a", "answer": "1"}]',
            "data.train.solution_column is 'solution', but t.json has no such column: set it to one of problem, answer,"
            " or null when there is none",
        ),
        (
            "t.json",
            b'[{"problem": "a", "answer": "", "solution": ""}]',
            "data.train: none of the 1 rows read can be used (1 no answer)",
        ),
        (
            "t.json",
            b'[{"problem": "a", "answer": "1", "solution": ""}]',
            "data.probe_problems is 1, but only 1 training problems can be used",
        ),
    ],
)
def test_unusable_files_are_the_persons_mistake(
    make_run: Any, tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    run = make_run(from_path(tmp_path / name))
    with pytest.raises(MistakeError) as mistake:
        prepare_data(run)
    assert expected in str(mistake.value)
    assert not run.data.exists()


def test_a_missing_parquet_column_is_told_with_the_columns_that_exist(make_run: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"Problem": ["a"], "answer": [1]}), tmp_path / "t.parquet")
    with pytest.raises(MistakeError, match=r"problem_column is 'problem', .* set it to one of Problem, answer"):
        prepare_data(make_run(from_path(tmp_path / "t.parquet")))


def test_the_embedded_task_goes_the_same_way(make_run: Any) -> None:
    run = make_run({"source": "embedded"}, {"source": "embedded"}, prompt_template="{problem}", probe_problems=10)
    prepare_data(run)
    assert manifest(run)["rows"] == {"train": 30, "test": 8, "probe": 10}
    first = load_problems(run.data / "test.parquet")[0]
    assert first.messages == ({"role": "user", "content": first.problem},)
    assert first.problem.startswith("Compute ")


def test_data_made_from_other_files_is_never_passed_off_as_made_from_these(make_run: Any, write_json: Any) -> None:
    run = make_run(from_path(write_json("train.json", rows(9))))
    prepare_data(run)
    shutil.rmtree(run.sources)
    write_json("train.json", rows(8))
    with pytest.raises(MistakeError, match="was made from other files than"):
        prepare_data(run)


def test_reading_problems_says_which_splits_there_are(make_run: Any, write_json: Any) -> None:
    run = make_run(from_path(write_json("train.json", rows(9))))
    prepare_data(run)
    with pytest.raises(MistakeError, match=r"aime\.parquet: no such file \(that folder has: probe, test, train\)"):
        load_problems(run.data / "aime.parquet")


def test_data_is_prepared_and_read_without_torch() -> None:
    code = "import sys, rl_core.data.prepare, rl_core.data.hub; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
