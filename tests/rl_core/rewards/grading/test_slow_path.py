"""The slow path: processes that are killed at their deadline, and nothing left behind."""

import contextlib
import fcntl
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rl_core.rewards.answers import final_answer
from rl_core.rewards.grading.grader import Grader, Verdict
from rl_core.rewards.grading.pool import ask
from rl_core.rewards.grading.server import DEADLINE_SECONDS, MEMORY_BYTES

pytest.importorskip("math_verify", reason="the slow path needs math-verify")

HANGS = r"\prod_{k=1}^{100000000} k"
ORDINARY = r"\lim_{x\to 2} x"  # asked of math-verify too, which answers it in a sixtieth of its deadline
TIMED_OUT = "undecided: timeout"
PROCESSOR_TIME = r"^Max cpu time +\d"  # as /proc tells a limit on it; a process without one has "unlimited"
PATIENCE_SECONDS = 60.0  # with what is waited for
OWN_SECONDS = 5.0  # of this process's processor time for eight answers, which nobody could kill; some 0.01 are usual
PROJECT = Path(__file__).resolve().parents[4]

COLD = """
import json, sys
from rl_core.rewards.grading.grader import Grader
print(json.dumps([verdict.path for verdict in Grader().grade_many(json.load(sys.stdin))]))
"""

ASKS_FOR_MINUTES = f"""
from rl_core.rewards.grading.pool import ask
ask([("5", {HANGS!r})] * 1000)
"""


def test_what_the_parser_does_not_read_is_asked_of_math_verify():
    verdict = Grader().grade(r"\int_0^1 x\,dx", r"\frac{1}{2}")
    assert (verdict.correct, verdict.path) == (True, "math-verify")
    assert Grader().grade(r"\int_0^1 x\,dx", r"\frac{1}{3}").correct is False


def test_what_never_ends_is_killed_eight_at_once_and_the_next_ones_are_graded():
    ask([("1", "1")])
    (server,) = _servers()
    verdicts = Grader().grade_many([(HANGS, str(number)) for number in range(8)])
    assert [(verdict.correct, verdict.path) for verdict in verdicts] == [(None, TIMED_OUT)] * 8
    assert min(verdict.seconds for verdict in verdicts) >= DEADLINE_SECONDS
    assert _children(server) == []
    assert Grader().grade(ORDINARY, "2").correct is True
    assert _thousand_are_right()
    assert _servers() == [server]


def test_eight_at_once_are_killed_where_nothing_was_started_yet():
    pairs = json.dumps([(HANGS, str(number)) for number in range(8)])
    command = [sys.executable, "-c", COLD]
    done = subprocess.run(
        command, input=pairs, capture_output=True, text=True, check=True, cwd=PROJECT, timeout=PATIENCE_SECONDS
    )
    assert json.loads(done.stdout) == [TIMED_OUT] * 8


def test_no_adversarial_answer_gets_a_wrong_verdict_or_holds_up_the_next_thousand(shared_data: Path):
    lines = (shared_data / "answers" / "adversarial.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    ask([("1", "1")])
    (server,) = _servers()
    grader = Grader()
    for start in range(0, len(rows), 8):
        batch = rows[start : start + 8]
        used = time.thread_time()
        verdicts = grader.grade_many([(final_answer(row["response"]), row["gold"]) for row in batch])
        assert time.thread_time() - used < OWN_SECONDS, [row["id"] for row in batch]
        contrary = [
            row["id"]
            for row, verdict in zip(batch, verdicts, strict=True)
            if row["expected"] is not None and verdict.correct not in (None, row["expected"])
        ]
        assert contrary == []
    assert _thousand_are_right()
    assert grader.grade(ORDINARY, "2").correct is True
    assert _servers() == [server]


def _thousand_are_right() -> bool:
    """Whether a thousand ordinary answers are, and none of them was asked of a child."""
    verdicts = Grader().grade_many([(f"{number}/3", f"{2 * number}/6") for number in range(1000)])
    return all(verdict.correct and verdict.path != "math-verify" for verdict in verdicts)


def test_every_child_has_limits_on_its_memory_and_its_processor_time():
    assert ask([("1", "1")])[0].correct is True
    (server,) = _servers()
    assert _children(server)
    for child in _children(server):
        assert re.search(rf"^Max address space +{MEMORY_BYTES} ", _limits(child), re.MULTILINE)
        assert re.search(PROCESSOR_TIME, _limits(child), re.MULTILINE)
    assert MEMORY_BYTES < 2e9


def test_a_verdict_that_a_dead_server_could_not_give_is_asked_again():
    grader = Grader()
    found: list[Verdict] = []
    asker = threading.Thread(target=lambda: found.append(grader.grade(HANGS, "11")))
    ask([("1", "1")])
    (server,) = _servers()
    os.kill(server, signal.SIGSTOP)  # so that it does not answer first
    asker.start()
    assert _comes_true(lambda: _num_unread(server) > 0)
    os.kill(server, signal.SIGKILL)
    asker.join()
    assert found[0].path == "undecided: the grading server ended"
    assert grader.grade(HANGS, "11").path == TIMED_OUT


def test_a_verdict_that_timed_out_is_remembered():
    grader = Grader()
    grader.grade(HANGS, "7")
    assert grader.grade(HANGS, "7").seconds == 0.0


def test_answers_come_in_order_whatever_they_took():
    pairs = [(ORDINARY, "2"), ("2", "2"), (ORDINARY, "3"), (None, "2"), ("2", "3")]
    assert [verdict.correct for verdict in Grader().grade_many(pairs)] == [True, True, False, False, False]


def test_a_worker_thread_and_a_forked_process_get_the_same_verdict():
    def grade(found: list[object]) -> None:
        found.append(Grader().grade(ORDINARY, "2").correct)

    found: list[object] = []
    thread = threading.Thread(target=grade, args=(found,))
    thread.start()
    thread.join()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found.append(pool.apply(_grade))
    assert found == [True, True]


def _grade() -> object:
    return Grader().grade(ORDINARY, "2").correct


@pytest.mark.parametrize("killed", ["the process that asks", "its server"])
def test_nothing_is_left_behind_where_one_is_killed(killed: str):
    asking = subprocess.Popen([sys.executable, "-c", ASKS_FOR_MINUTES], cwd=PROJECT)
    try:
        assert _comes_true(lambda: len(_children(asking.pid)) == 1)
        (server,) = _children(asking.pid)
        assert _comes_true(lambda: any(map(_is_at_work, _children(server))))
        below = [server, *_children(server)]
        os.kill(asking.pid if killed == "the process that asks" else server, signal.SIGKILL)
        assert _comes_true(lambda: not any(map(_runs, below)))
    finally:
        asking.kill()
        asking.wait()


def _comes_true(condition: Callable[[], bool]) -> bool:
    """Whether it does, sooner or later."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def _num_unread(process: int) -> int:
    """Bytes that wait at a process's standard input."""
    with Path(f"/proc/{process}/fd/0").open("rb", buffering=0) as pipe:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def _servers() -> list[int]:
    """This process's grading servers: one, where one was started."""
    command = b"rl_core.rewards.grading.server"
    return [child for child in _children(os.getpid()) if command in Path(f"/proc/{child}/cmdline").read_bytes()]


def _children(process: int) -> list[int]:
    """Those of a process; none of one that has gone."""
    children: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text().split()]
    return children


def _is_at_work(child: int) -> bool:
    """Whether it was given a question, and with it a limit."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return re.search(PROCESSOR_TIME, _limits(child), re.MULTILINE) is not None
    return False


def _limits(process: int) -> str:
    return Path(f"/proc/{process}/limits").read_text(encoding="utf-8")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
