"""Asking the grading server: from any thread, any number at a time, with the same verdicts.

One server per process, started when first asked, started again when it died, and after a fork. Nothing here uses
signals or needs the main thread, so that a Prefect task, a worker thread and a rank under torchrun all get the same.
"""

import atexit
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

SILENCE_SECONDS = 20.0  # of a server that has questions, before it counts as dead; its own deadlines are far shorter
STARTUP_SECONDS = 180.0  # of its imports, a second where the disk and the processors are free
CLOSE_SECONDS = 2.0
SERVER_ENDED = "the grading server ended"  # the one reason that says nothing of the answer


@dataclass(frozen=True, slots=True)
class SlowVerdict:
    """What the slow path says; `correct` is None where it could not decide, and `reason` says why."""

    correct: bool | None
    reason: str
    seconds: float = 0.0  # at work on it, without its turn in the queue


def is_available() -> bool:
    """Whether math-verify is installed, without importing it."""
    return importlib.util.find_spec("math_verify") is not None


def ask(pairs: Sequence[tuple[str, str]]) -> list[SlowVerdict]:
    """Verdicts on (gold, answer) pairs, in their order."""
    if not is_available():
        return [SlowVerdict(None, "math-verify is not installed")] * len(pairs)
    server = _server()
    futures = [server.submit(gold, answer) for gold, answer in pairs]
    return [server.wait(future) for future in futures]


def warm_up() -> None:
    """Start the server, which takes about a second, without waiting for it."""
    if is_available():
        _server()


class _Client:
    """The connection to one server."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rl_core.rewards.grading.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._asked: dict[int, Future[SlowVerdict]] = {}
        self._heard = time.monotonic()
        self.alive = True
        self._ready = False  # its imports are done
        threading.Thread(target=self._listen, name="grading", daemon=True).start()

    def submit(self, gold: str, answer: str) -> "Future[SlowVerdict]":
        future: Future[SlowVerdict] = Future()
        with self._lock:
            if not self.alive:
                future.set_result(SlowVerdict(None, SERVER_ENDED))
                return future
            number = next(self._numbers)
            if not self._asked:
                self._heard = time.monotonic()
            self._asked[number] = future
        line = json.dumps({"id": number, "gold": gold, "answer": answer}).encode() + b"\n"
        with self._lock:
            try:
                assert self._process.stdin is not None, "opened as a pipe"
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except OSError:
                self.alive = False  # the listener answers what was asked
        return future

    def wait(self, future: "Future[SlowVerdict]") -> SlowVerdict:
        while True:
            try:
                return future.result(timeout=SILENCE_SECONDS)
            except FutureTimeoutError:
                if time.monotonic() - self._heard > (SILENCE_SECONDS if self._ready else STARTUP_SECONDS):
                    self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout is not None, "opened as a pipe"
        for line in self._process.stdout:
            self._heard = time.monotonic()
            verdict = json.loads(line)
            self._ready = True
            if verdict:
                with self._lock:
                    future = self._asked.pop(verdict["id"])
                future.set_result(SlowVerdict(verdict["correct"], verdict["reason"], verdict["seconds"]))
        with self._lock:
            self.alive = False
            unanswered, self._asked = list(self._asked.values()), {}
        for future in unanswered:
            future.set_result(SlowVerdict(None, SERVER_ENDED))
        self._process.wait()

    def close(self) -> None:
        if self.owner != os.getpid():
            return
        assert self._process.stdin is not None, "opened as a pipe"
        if not self._ready:
            self._process.kill()  # it has no children yet, and would first finish its imports
        try:
            self._process.stdin.close()
            self._process.wait(CLOSE_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()


_client: _Client | None = None
_client_lock = threading.Lock()


def _server() -> _Client:
    global _client
    with _client_lock:
        if _client is None or not _client.alive or _client.owner != os.getpid():
            _client = _Client()
            atexit.register(_client.close)
        return _client
