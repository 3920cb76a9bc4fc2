"""What a command ends with when it does not end well, and the exit code of each."""

EXIT_MISTAKE = 2
EXIT_GUARD = 3
EXIT_OUT_OF_MEMORY = 4
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_TERMINATED = 143  # 128 + SIGTERM


class MistakeError(ValueError):
    """Something a person can put right: shown as one message, without a traceback. Exit code 2."""


class GuardStop(RuntimeError):  # noqa: N818 - a deliberate stop, not an error of the program
    """A guard ended the run with its state saved: non-finite loss, collapse, mismatch. Exit code 3."""


class OutOfMemory(RuntimeError):  # noqa: N818 - what happened; with less at a time the same work may fit
    """Memory ran out, of a device or of the machine. Exit code 4."""


class Interrupted(BaseException):
    """A signal asked the process to end; everything up to the last checkpoint is kept.

    Derives from BaseException so that no handler for ordinary failures takes it for one.
    """

    def __init__(self, exit_code: int = EXIT_TERMINATED) -> None:
        super().__init__(f"interrupted (exit code {exit_code})")
        self.exit_code = exit_code
