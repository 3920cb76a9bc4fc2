"""How a stage's process can end badly, as exceptions. Imports no Prefect, so that the command line may."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_core.errors import (
    EXIT_GUARD,
    EXIT_INTERRUPTED,
    EXIT_MISTAKE,
    EXIT_OUT_OF_MEMORY,
    EXIT_TERMINATED,
    GuardStop,
    Interrupted,
    MistakeError,
)
from tasks.display import say

INTERRUPTED_CODES = {
    EXIT_INTERRUPTED: EXIT_INTERRUPTED,
    EXIT_TERMINATED: EXIT_TERMINATED,
    -signal.SIGINT: EXIT_INTERRUPTED,
    -signal.SIGTERM: EXIT_TERMINATED,
}


class StageFailed(RuntimeError):  # noqa: N818 - what happened to a stage; an attempt more may succeed
    """A stage's process ended in a way that may pass: a crash, a lost worker, a full disk. Tried again."""


class StageOutOfMemory(StageFailed):
    """Memory ran out. A training is tried again with less at a time; anything else like every failure that may pass."""


class StageHung(StageFailed):
    """The stage said nothing for longer than it may, and was ended."""


class Failures:
    """What failed of many things that do not need each other: told at once, raised when the others are done."""

    def __init__(self) -> None:
        self._mistakes: list[str] = []
        self._others: list[str] = []

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Keep a failure of the block for later; an interruption goes on, and what may have been made of one."""
        try:
            yield
        except MistakeError as mistake:
            self._keep(self._mistakes, name, str(mistake))
        except (GuardStop, StageFailed) as error:
            self._keep(self._others, name, str(error))
        except (LookupError, OSError) as error:  # a file or folder that went meanwhile
            self._keep(self._others, name, f"{name}: {type(error).__name__}: {error}")

    @property
    def told(self) -> str:
        """What failed; empty where nothing did."""
        found = [*self._mistakes, *self._others]
        return "\n".join([f"{len(found)} failed:", *dict.fromkeys(found)]) if found else ""

    def raise_any(self) -> None:
        """Raise what was kept: as a mistake where all of it is."""
        if self.told:
            raise (StageFailed if self._others else MistakeError)(self.told)

    @staticmethod
    def _keep(kept: list[str], name: str, text: str) -> None:
        say(f"{name}: failed, and left for the next time: {text}")
        kept.append(text)


def failure(name: str, exit_code: int, output: list[str], log: Path) -> BaseException:
    """The exception for a stage that ended with `exit_code`, a signal being negative.

    Args:
        name: of the part that was being made.
        output: the last lines that the stage wrote.
        log: where all of them are.
    """
    if exit_code == EXIT_MISTAKE:
        return MistakeError(_message(output, "error: ") or f"{name}: refused its input; see {log}")
    if exit_code == EXIT_GUARD:
        return GuardStop(_message(output, "stopped: ") or f"{name}: stopped by a guard; see {log}")
    if exit_code in INTERRUPTED_CODES:
        return Interrupted(INTERRUPTED_CODES[exit_code])
    failed = StageOutOfMemory if exit_code == EXIT_OUT_OF_MEMORY else StageFailed
    ended = f"was killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with code {exit_code}"
    hint = {-signal.SIGKILL: " (out of memory?)", EXIT_OUT_OF_MEMORY: " (out of memory)"}.get(exit_code, "")
    return failed("\n".join([f"{name} {ended}{hint}; its last lines (all of them: {log}):", *output]))


def _message(output: list[str], prefix: str) -> str:
    """What follows the first `prefix` at the start of a line, to the end."""
    for number, line in enumerate(output):
        if line.startswith(prefix):
            return "\n".join([line.removeprefix(prefix), *output[number + 1 :]])
    return ""
