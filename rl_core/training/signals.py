"""SIGTERM and SIGINT during training: the step under way ends, is saved, and then the process does.

Who sends the signal decides how long that may take: a task 25 s (`tasks.process`), torchrun's agent 30 s. What takes
longer, step and checkpoint together, is killed instead, and the run goes on from its last published checkpoint.
"""

import signal
from types import FrameType

SIGNAL_EXIT = 128


class StopRequest:
    """Remembers the first signal; a second one ends the process at once."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self.exit_code = SIGNAL_EXIT + number
        signal.signal(number, signal.SIG_DFL)
