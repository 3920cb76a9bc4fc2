import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rl_core.errors import Interrupted
from rl_core.rollout.collect import Rollout
from rl_core.training.records import cut_metrics, write_metrics, write_rollouts
from rl_core.training.signals import StopRequest
from rl_core.types import Completion, Problem, Score

REPOSITORY = Path(__file__).resolve().parents[3]


def steps(file: Path) -> list[int]:
    return [json.loads(line)["step"] for line in file.read_text().splitlines()]


def test_lines_after_a_step_are_dropped_and_the_others_left_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    for step in range(6):
        write_metrics(file, {"step": step, "reward_mean": step / 7, "stage": "8k"})
    before = file.read_text().splitlines(keepends=True)
    cut_metrics(file, 3)
    assert file.read_text() == "".join(before[:4])
    cut_metrics(file, 9)
    assert steps(file) == [0, 1, 2, 3]
    cut_metrics(file, 0)
    assert file.read_text() == ""


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    write_metrics(file, {"step": 1})
    with file.open("a") as metrics:
        metrics.write('{"step": 2, "rew')
    cut_metrics(file, 5)
    assert steps(file) == [1]


def test_the_line_of_the_checkpoint_is_written_where_the_process_ended_before_it_was(tmp_path: Path) -> None:
    file, last_line = tmp_path / "metrics.jsonl", {"step": 2, "reward_mean": 0.25}
    for step in (0, 1):
        write_metrics(file, {"step": step})
    cut_metrics(file, 2, last_line)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"step": 0}, {"step": 1}, last_line]
    write_metrics(file, {"step": 3})
    cut_metrics(file, 2, {"step": 2, "reward_mean": 0.5})
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"step": 0}, {"step": 1}, last_line]


def test_no_file_is_an_empty_one(tmp_path: Path) -> None:
    cut_metrics(tmp_path / "metrics.jsonl", 0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_responses_are_written_one_row_each(tmp_path: Path) -> None:
    problem = Problem(7, "Compute 1 a+2", "3", (1, 2))
    rollouts = [
        Rollout(problem, 0, Completion([4, 5], [-1.0, -2.0], "stop", 3), "\\boxed{3}", Score(1.0, {"boxed": 1.0}, "3")),
        Rollout(problem, 1, Completion([4], [-1.0], "length", 3), "1a", Score(None, {"boxed": None}, None)),
    ]
    file = tmp_path / "rollouts" / "step_000004.parquet"
    write_rollouts(file, rollouts)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    table = pd.read_parquet(file)
    first, second = table.to_dict("records")
    assert first == {
        "index": 7, "sample": 0, "problem": "Compute 1 a+2", "answer": "3", "response": "\\boxed{3}",
        "response_tokens": 2, "reward": 1.0, "truncated": False, "extracted": "3",
    }  # fmt: skip
    assert (second["sample"], second["truncated"], second["response_tokens"]) == (1, True, 1)
    assert table["reward"].isna().tolist() == [False, True]
    assert table["extracted"].isna().tolist() == [False, True]


WAITER = """
import os, sys, time
from rl_core.training.signals import StopRequest
with StopRequest() as stop:
    print(stop.exit_code, flush=True)
    while stop.exit_code is None:
        time.sleep(0.01)
    print(stop.exit_code, flush=True)
    time.sleep(600)
"""


def test_the_first_signal_is_remembered_and_the_second_ends_the_process() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([sys.executable, "-c", WAITER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "None\n"
        os.kill(process.pid, number)
        assert process.stdout.readline() == f"{128 + number}\n"
        os.kill(process.pid, number)
        assert process.wait(timeout=60) == -number
        process.stdout.close()


def fail_when_asked_to_stop() -> None:
    with StopRequest():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("of the work")


def test_a_request_that_nobody_asked_about_ends_the_work_and_the_handlers_before_are_there_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    for number in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(Interrupted) as stopped, StopRequest():
            os.kill(os.getpid(), number)
        assert stopped.value.exit_code == 128 + number
        assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    with pytest.raises(ValueError, match="of the work"):
        fail_when_asked_to_stop()
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
