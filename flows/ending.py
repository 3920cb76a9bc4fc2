"""How a command of this project ends: its exit code, one message, and how to go on."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from flows.server import ServerFailed
from rl_core.errors import EXIT_GUARD, EXIT_INTERRUPTED, EXIT_MISTAKE, GuardStop, Interrupted, MistakeError
from tasks.failures import StageFailed
from tasks.interruptions import Interruptions

EXIT_FAILED = 1


def exit_code_of(do: Callable[[], None], module: str, arguments: Sequence[str]) -> int:
    """Do it; the exit code is that of `rl_core.errors`, or 1 for a stage that kept failing.

    Args:
        module, arguments: the command, as it was given.
    """
    try:
        _interruptible(do)
    except MistakeError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return EXIT_MISTAKE
    except GuardStop as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return EXIT_GUARD
    except (StageFailed, ServerFailed) as failure:
        print(f"failed: {failure}\n{_continue_with(module, arguments)}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, SystemExit, Interrupted) as interruption:
        print(f"\ninterrupted; {_continue_with(module, arguments)}", file=sys.stderr)
        return _exit_code(interruption)
    return 0


def _interruptible(do: Callable[[], None]) -> None:
    with Interruptions() as interruptions:
        try:
            do()
        except Exception:
            interruptions.raise_again()  # what an interruption was turned into on its way
            raise


def _continue_with(module: str, arguments: Sequence[str]) -> str:
    python = Path(sys.executable)
    here = Path.cwd()
    shown = os.fspath(python.relative_to(here) if python.is_relative_to(here) else python)
    return f"continue with: {shlex.join([shown, '-m', module, *arguments])}"


def _exit_code(interruption: BaseException) -> int:
    if isinstance(interruption, Interrupted):
        return interruption.exit_code
    if isinstance(interruption, SystemExit) and isinstance(interruption.code, int):
        return interruption.code
    return EXIT_INTERRUPTED
