"""Where a process is: on SIGUSR1 it writes the stack of every thread to its standard error, and goes on."""

import faulthandler
import signal
import sys

STACKS_SIGNAL = signal.SIGUSR1


def answer_with_stacks() -> None:
    """To be called as a process starts; a task asks those that hang, before it ends them."""
    faulthandler.register(STACKS_SIGNAL, file=sys.__stderr__ or sys.stderr, all_threads=True)
