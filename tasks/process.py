"""Runs one stage of `rl_core` in a process of its own, and leaves nothing of it running.

The stage gets a session of its own, so that a Ctrl-C reaches it once, through us, and dies with us whatever ends us.
Its output goes line by line to a log file and to the task run's logger; the lines that report progress also to the
terminal and to Prefect.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rl_core.config import StageIndex
from rl_core.config.training import GuardConfig
from rl_core.masking import without_secrets
from rl_core.process_guard import guarded, guarded_environment
from rl_core.progress import BEAT, FORMAT_VARIABLE, Update
from rl_core.run_dir import RunDir
from tasks.display import Display, say
from tasks.failures import failure
from tasks.interruptions import Interruptions
from tasks.pipes import Pipes
from tasks.publishing import StageJournal, artifact_key
from tasks.silence import Silence
from tasks.slots import device_slot

COMMAND_VARIABLE = "RL_CORE_COMMAND"  # what stands before a stage's name, where it is not this Python's `-m rl_core`
CHECK_SECONDS = 1.0  # between two looks at whether an interruption was swallowed, or the stage says nothing
STOP_SECONDS = 25.0  # for a stage to end by itself; Prefect's worker allows 30 before it kills
LAST_LINES = 30


def run_stage(
    run: RunDir, name: str, stage: str, index: StageIndex | None = None, overrides: Sequence[str] = ()
) -> None:
    """Run `python -m rl_core <stage>` on the run until it ends.

    Args:
        name: of the part that is made: "train 8k".
        stage: as on the command line of `rl_core`.
        index: stage of the recipe, for the stages that want one.
        overrides: `key=value`, of settings that decide nothing of what the stage makes.

    Raises:
        MistakeError, GuardStop, Interrupted, StageFailed: by the exit code; see `failures`.
        StageHung: it said nothing for `guard.max_silent_seconds`.
    """
    number = [] if index is None else ["--stage", str(index)]
    arguments = [stage, "--config", str(run.config_file), "--run-dir", str(run.root), *number, *overrides]
    key, bound = artifact_key(run, f"{name} progress"), run.config.guard.max_silent_seconds
    run_command(name, arguments, log=log_file(run, name), key=key, max_silent_seconds=bound)


def run_command(
    name: str,
    arguments: Sequence[str],
    *,
    log: Path,
    key: str,
    max_silent_seconds: float | None = GuardConfig().max_silent_seconds,
) -> None:
    """Run `python -m rl_core` with these arguments until it ends.

    Args:
        name: of what is made.
        log: the file that its output is added to.
        key: of the artifact that shows its progress in Prefect.
        max_silent_seconds: in which it may say nothing; None: no bound.

    Raises:
        MistakeError, GuardStop, Interrupted, StageFailed: by the exit code; see `failures`.
        StageHung: it said nothing for too long.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        Interruptions() as interruptions,
        device_slot(arguments[0]),
        log.open("a", encoding="utf-8") as file,
        Display(name) as display,
    ):
        output = _Output(file, StageJournal(key), display.show)
        process = _start([*_program(), *arguments])
        silence = Silence(name, max_silent_seconds, log)
        with Pipes(process, lambda line, is_error: output.take(silence.broken_by(line), is_error)) as pipes:
            try:
                while (exit_code := pipes.pump(min(CHECK_SECONDS, silence.seconds_left()))) is None:
                    interruptions.raise_again()
                    silence.end_if_too_long(process.pid, pipes)
            except BaseException:
                output.stopping = True
                say(f"{name}: stopping, which may take {STOP_SECONDS:.0f} s: what it can save, it saves")
                stop_group(process, pipes)
                raise
            else:
                _signal_group(process, signal.SIGKILL)  # what it left behind would keep its memory and its devices
        interruptions.raise_again()
        if exit_code != 0:
            raise failure(name, exit_code, output.last_words(), log)


def log_file(run: RunDir, name: str) -> Path:
    """Where the output of the process that makes a part is kept."""
    return run.root / "logs" / f"{name.replace(' ', '-')}.log"


def stop_group(process: "subprocess.Popen[bytes]", pipes: Pipes) -> None:
    """End the process and its group: first asked, and read meanwhile, then killed; at once when interrupted again."""
    try:
        _signal_group(process, signal.SIGTERM)
        pipes.pump(STOP_SECONDS)
    except (KeyboardInterrupt, SystemExit):
        pass  # the exception that brought us here is raised again by the caller
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _program() -> list[str]:
    given = os.environ.get(COMMAND_VARIABLE)
    return shlex.split(given) if given else [sys.executable, "-m", "rl_core"]


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        guarded(command),
        env={**guarded_environment(), FORMAT_VARIABLE: "json"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


class _Output:
    """Where each line of a stage goes."""

    def __init__(self, file: IO[str], journal: StageJournal, show: Callable[[Update], None]) -> None:
        self.stopping = False  # the log and the terminal still get the last lines; Prefect has ended the task
        self._file, self._journal, self._show = file, journal, show
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._last_errors: deque[str] = deque(maxlen=LAST_LINES)

    def take(self, line: str, is_error: bool) -> None:
        """Write a line to the log, and pass it on."""
        if line == BEAT:
            return
        line = without_secrets(line)
        update = Update.parse(line)
        text = line if update is None else update.line()
        self._file.write(f"{time.strftime('%H:%M:%S')} {text}\n")
        self._file.flush()
        if update is not None:
            self._show(update)
        else:
            self._last.append(line)
            if is_error:
                self._last_errors.append(line)
        if not self.stopping:
            self._journal.take(line, update)

    def last_words(self) -> list[str]:
        """The last lines; those of standard error alone when there are any."""
        return list(self._last_errors or self._last)
