"""Benchmarks by name: from a hub at a known commit, from a folder, from a file; and every row accounted for."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl_core.config.data import PromptConfig
from rl_core.data.parquet import dataset_digest, load_problems
from rl_core.errors import MistakeError
from rl_core.evaluation.benchmarks import BENCHMARKS, benchmark_name
from rl_core.evaluation.problems import PROBLEMS, take_benchmark
from rl_core.manifest import read_manifest
from tests.hub_server import Hub, Repository

FIELD = "evaluation.benchmark"
PROMPT = PromptConfig()
# Takes the benchmarks that it is given in a process of its own: a client reads where the hub is when it is imported.
TAKE = """
import sys
from pathlib import Path
from rl_core.config.data import PromptConfig
from rl_core.errors import MistakeError
from rl_core.evaluation.problems import take_benchmark
for name in sys.argv[2:]:
    try:
        take_benchmark(name, None, PromptConfig(), Path(sys.argv[1]) / name, key="k", field="evaluation.benchmark")
    except MistakeError as mistake:
        print(f"{name}: {mistake}", file=sys.stderr)
"""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def asked(folder: Path) -> list[tuple[str, str]]:
    return [(problem.problem, problem.answer) for problem in load_problems(folder / PROBLEMS)]


def hold(hub: Hub, name: str, files: dict[str, bytes]) -> None:
    """Put the files of a benchmark where it is looked for."""
    known = BENCHMARKS[name]
    if known.revision == "main":
        hub.commit(known.repo_id, files)
    else:
        hub.repositories[known.repo_id] = Repository(commits={known.revision: files})


def test_benchmarks_come_from_the_hub_each_row_accounted_for(hub: Hub, tmp_path: Path, repository: Path) -> None:
    hold(hub, "aime24", {"data/train-00000-of-00001.parquet": parquet([{"problem": "a", "answer": "025"}])})
    second = lines([{"question": "c", "answer": "3"}])
    hold(hub, "aime25", {"aime2025-I.jsonl": lines([{"question": "b", "answer": 70}]), "aime2025-II.jsonl": second})
    odd = [{"question": "x", "answer": "\\frac{1}{2}"}, {"question": "y", "answer": ""}]
    hold(hub, "minerva", {"test.jsonl": lines(odd)})
    olympiad = [{"question": "o", "final_answer": ["2"]}, {"question": "p", "final_answer": ["1", "5"]}]
    hold(hub, "olympiad", {BENCHMARKS["olympiad"].files[0]: parquet(olympiad)})
    rows = [{"problem": f"d{row}", "answer": str(row)} for row in range(30200)]
    hold(hub, "deepscaler-heldout", {"deepscaler.json": json.dumps(rows).encode()})
    half = [{"problem": f"r{row}", "answer": str(row)} for row in range(1000)]
    shards = {f"extended/train-0000{n}-of-00002.parquet": parquet(half[n * 500 :][:500]) for n in (0, 1)}
    hold(hub, "openr1-math", {**shards, "README.md": b"about it", "extended/other.txt": b"no data"})
    names = ["aime24", "aime25", "minerva", "olympiad", "deepscaler-heldout", "openr1-math", "math500"]
    done = subprocess.run(
        [sys.executable, "-c", TAKE, str(tmp_path), *names],
        cwd=repository, env={**hub.environment(tmp_path / "home"), "PYTHONPATH": str(repository)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert asked(tmp_path / "aime24") == [("a", "025")]
    assert asked(tmp_path / "aime25") == [("b", "70"), ("c", "3")]
    assert asked(tmp_path / "olympiad") == [("o", "2")]
    assert asked(tmp_path / "deepscaler-heldout") == [(f"d{row}", str(row)) for row in range(30000, 30100)]
    drawn = np.random.default_rng(42).permutation(1000)[:1]  # as train_test_split of the package datasets does
    assert asked(tmp_path / "openr1-math") == [(f"r{row}", str(row)) for row in drawn]
    minerva, olympics = read_manifest(tmp_path / "minerva"), read_manifest(tmp_path / "olympiad")
    assert minerva is not None
    assert olympics is not None
    assert (minerva["rows_read"], minerva["rows"], minerva["set_aside"]) == (2, 1, {"no answer": 1})
    assert minerva["source"]["commit"] == hub.repositories["math-ai/minervamath"].branches["main"]
    assert olympics["set_aside"] == {"several answers": 1}
    assert olympics["source"]["commit"] == BENCHMARKS["olympiad"].revision
    assert "evaluation.benchmark is 'HuggingFaceH4/MATH-500': no such dataset" in done.stderr


def test_a_folder_takes_the_place_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "aime25.json").write_text(json.dumps([{"problem": "under its own name", "answer": "1"}]))
    (tmp_path / "openr1-math.jsonl").write_bytes(lines([{"problem": "all rows", "answer": "1"}] * 3))
    for name, count in (("aime25", 1), ("openr1-math", 3)):
        take_benchmark(name, str(tmp_path), PROMPT, tmp_path / "out" / name, key="k", field=FIELD)
        assert len(asked(tmp_path / "out" / name)) == count
    with pytest.raises(MistakeError, match=r"has no file of that name .* or set the folder to null for the hub"):
        take_benchmark("math500", str(tmp_path), PROMPT, tmp_path / "out" / "x", key="k", field=FIELD)


def test_a_data_set_has_one_digest_whatever_its_file_and_its_prompt(tmp_path: Path) -> None:
    rows = [{"problem": "1+1", "answer": "2"}, {"problem": "2+2", "answer": "4"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.parquet").write_bytes(parquet([{"question": r["problem"], "answer": r["answer"]} for r in rows]))
    prompts = (PROMPT, PromptConfig(prompt_template="Q: {problem}", system_prompt="Be brief."))
    digests = set()
    for file, prompt in zip(("a.json", "b.parquet"), prompts, strict=True):
        folder = tmp_path / benchmark_name(file)
        take_benchmark(str(tmp_path / file), None, prompt, folder, key="k", field=FIELD)
        digests.add(dataset_digest(folder / PROBLEMS))
        manifest = read_manifest(folder)
        assert manifest is not None
        assert manifest["dataset_digests"] == {benchmark_name(file): dataset_digest(folder / PROBLEMS)}
    assert len(digests) == 1


def test_a_runs_own_copy_has_the_name_and_the_problems_of_what_it_was_taken_from(tmp_path: Path) -> None:
    prompted = PROMPT.prompt_template.replace("{problem}", " 1+1 ")
    rows = [{"problem": prompted, "answer": "$2$"}, *[{"problem": "2+2", "answer": "4"}] * 2]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    own = tmp_path / "run" / "benchmarks" / "a"
    take_benchmark(str(tmp_path / "a.json"), None, PROMPT, own, key="k", field=FIELD)
    assert benchmark_name(str(own / PROBLEMS)) == "a"
    assert benchmark_name(str(tmp_path / PROBLEMS)) == "problems"
    take_benchmark(str(own / PROBLEMS), None, PROMPT, tmp_path / "again", key="k", field=FIELD)
    assert dataset_digest(tmp_path / "again" / PROBLEMS) == dataset_digest(own / PROBLEMS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '[{"query": "x", "answer": "1"}]',
            r"has none of the columns problem, question: rename one of its own \(query",
        ),
        ('[{"problem": "", "answer": "1"}]', r"none of its 1 rows can be asked \(1 no problem\)"),
        ("[]", "holds no rows|has none of the columns"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_what_cannot_be_asked_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(MistakeError, match=message):
        take_benchmark(str(tmp_path / "bad.json"), None, PROMPT, tmp_path / "out", key="k", field=FIELD)
    assert not (tmp_path / "out").exists()


def test_real_benchmarks_lose_no_problem_in_silence(shared_data: Path, tmp_path: Path) -> None:
    rows = {"aime24": 30, "amc": 83, "math500": 500, "minerva": 272}
    for name, count in rows.items():
        take_benchmark(name, str(shared_data / "math"), PROMPT, tmp_path / name, key="k", field=FIELD)
        manifest = read_manifest(tmp_path / name)
        assert manifest is not None
        assert manifest["rows_read"] == count
        assert manifest["rows"] + sum(manifest["set_aside"].values()) == count
        assert manifest["rows"] > 0.95 * count
