import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
ANSWERS = PROJECT.parent / "shared" / "data" / "answers"


def grade(*arguments: str, response: str | bytes = "", **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "rl_core", "grade", *arguments]
    given = response if isinstance(response, bytes) else response.encode()
    done = subprocess.run(
        command, input=given, capture_output=True, cwd=PROJECT, env={**os.environ, **more}, check=False
    )
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_one_response_is_graded_and_the_verdict_explained():
    done = grade("--gold", "0.5", response=r"<think>hm</think> so \boxed{\frac12}")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["verdict"] == "correct"
    assert lines["extracted"] == r"'\\frac12'"
    assert lines["path"] == "spelling"
    assert float(lines["seconds"]) < 1


def test_a_response_without_an_answer_is_told_why():
    assert "never closed" in grade("--gold", "1", response=r"<think> \boxed{1}").stdout
    assert "no <answer> and no box" in grade("--gold", "1", response="1").stdout


def test_a_file_is_graded_line_by_line_in_order(tmp_path: Path):
    file = tmp_path / "responses.jsonl"
    rows = [(r"\boxed{1}", "1"), (r"\boxed{\sqrt2}", "1"), ("1", "1"), (r"\boxed{1}", "")]
    file.write_text("".join(json.dumps({"response": response, "gold": gold}) + "\n" for response, gold in rows))
    done = grade("--jsonl", str(file))
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["correct"] for line in found] == [True, False, False, None]
    assert [line["extracted"] for line in found] == ["1", r"\sqrt2", None, "1"]
    assert [line["path"] for line in found] == ["spelling", "meaning", "no answer", "empty gold"]
    assert all(line["seconds"] >= 0 for line in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "line 1 is not JSON"),
        (b'{"response": "a"}', "line 1 needs `response` and `gold`"),
        (b'{"response": "a", "gold": 1}', "both text"),
        (b'\n{"response": "a", "gold": "1"}\n\x97\x00', "line 3 is not JSON"),
        (b"[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_a_file_that_cannot_be_graded_is_a_mistake(tmp_path: Path, content: bytes, message: str):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    done = grade("--jsonl", str(file))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_may_begin_with_a_byte_order_mark_and_hold_any_character(tmp_path: Path):
    file = tmp_path / "odd.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"response": "\\\\boxed{1\\ud800}", "gold": "1"}\n')
    done = grade("--jsonl", str(file), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["extracted"] == "1\ud800"


def test_a_response_that_is_no_text_is_a_mistake_and_a_terminal_that_lacks_a_character_is_none():
    done = grade("--gold", "1", response=b"\x97\x00")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not UTF-8" in done.stderr
    done = grade("--gold", "é", response="\\boxed{é}", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout.splitlines()[2]) == (0, "read as    \\xe9"), done.stderr


def test_whoever_reads_the_verdicts_may_stop_early(tmp_path: Path):
    file = tmp_path / "responses.jsonl"
    file.write_text((json.dumps({"response": "\\boxed{1}", "gold": "1"}) + "\n") * 3000)
    command = [sys.executable, "-m", "rl_core", "grade", "--jsonl", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT)
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["correct"] is True
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0


def test_a_missing_file_is_a_mistake(tmp_path: Path):
    done = grade("--jsonl", str(tmp_path / "none.jsonl"))
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.skipif(not ANSWERS.is_dir(), reason="the shared answers are not on this machine")
def test_the_shared_cases_are_decided_as_labelled(tmp_path: Path):
    pytest.importorskip("math_verify", reason="the slow path needs math-verify")
    rows = [json.loads(line) for line in (ANSWERS / "graded.jsonl").read_text().splitlines()]
    done = grade("--jsonl", str(ANSWERS / "graded.jsonl"))
    verdicts = [json.loads(line)["correct"] for line in done.stdout.splitlines()]
    right = sum(row["expected"] is verdict for row, verdict in zip(rows, verdicts, strict=True))
    paid = [row["id"] for row, verdict in zip(rows, verdicts, strict=True) if verdict and not row["expected"]]
    assert right / len(rows) >= 0.98
    assert paid == []
