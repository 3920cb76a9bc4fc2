"""SIGTERM and SIGINT during training: the step under way ends, is saved, and then the process does.

Who sends the signal decides how long that may take: a task 25 s (`tasks.process`), torchrun's agent 30 s. What takes
longer, step and checkpoint together, is killed instead, and the run goes on from its last published checkpoint.
"""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

from rl_core.errors import Interrupted

SIGNAL_EXIT = 128


class StopRequest:
    """Remembers the first signal while it is entered; a second one ends the process at once.

    What was there before takes the signals again when it is left, since nobody asks it any more. One that came behind
    the last question is answered then: by Interrupted, where nothing else is raised.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: one that was not set from Python
        if kind is None and self.exit_code is not None:
            raise Interrupted(self.exit_code)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self.exit_code = SIGNAL_EXIT + number
        signal.signal(number, signal.SIG_DFL)
