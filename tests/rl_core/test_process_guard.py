import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl_core.process_guard import guarded

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")

# A parent that starts a guarded stage, which starts a worker that guards itself; the last two say who they are.
WORKER = """
import os, time
from rl_core.process_guard import guard_process
guard_process()
print(os.getpid(), flush=True)
time.sleep(600)
"""
STAGE = f"""
import os, subprocess, sys
print(os.getpid(), flush=True)
subprocess.run([sys.executable, "-c", {WORKER!r}], start_new_session=True)
"""
PARENT = f"""
import subprocess, sys
from rl_core.process_guard import guarded, guarded_environment
command = guarded([sys.executable, "-c", {STAGE!r}])
subprocess.run(command, env=guarded_environment(), start_new_session=True)
"""


@linux_only
def test_a_guarded_process_and_its_guarded_child_die_with_the_parent_however_that_dies() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    stage, worker = int(parent.stdout.readline()), int(parent.stdout.readline())
    assert alive(stage)
    assert alive(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (alive(stage) or alive(worker)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(stage)
    assert not alive(worker)
    parent.stdout.close()


def test_a_guarded_command_keeps_its_arguments_exit_code_and_output() -> None:
    script = "import sys; print(sys.argv[1:]); sys.exit(7)"
    done = subprocess.run(
        guarded([sys.executable, "-c", script, "a b", "--c"]), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("['a b', '--c']\n", "", 7)


def alive(process: int) -> bool:
    """Whether a process runs; one that has died and waits to be collected does not."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
