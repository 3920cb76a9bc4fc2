"""A lock on a file, for which others wait and say for whom.

It is flock(2), which the kernel ends with the process, however that ends; a file that such a process leaves is taken
over by the next one.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.5
NOTICE_SECONDS = 60.0  # between two lines that say what is waited for


@contextmanager
def file_lock(file: Path, *, holder: str, wanted: str, remove: bool = False) -> Iterator[None]:
    """Hold the lock until the block ends; waits for it.

    Args:
        holder: what holds it then, for those who wait.
        wanted: what is waited for meanwhile: "device 0".
        remove: the file goes at the end.
    """
    handle = _locked(file, wanted)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{holder}, process {os.getpid()}".encode(), 0)
        yield
    finally:
        if remove:
            file.unlink(missing_ok=True)
        os.close(handle)


def _locked(file: Path, wanted: str) -> int:
    """The descriptor of the file that is there: one that its holder has removed meanwhile locks nobody out."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _wait_for(handle, wanted)
            if os.path.samestat(os.fstat(handle), file.stat()):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _wait_for(handle: int, wanted: str) -> None:
    noticed = float("-inf")
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - noticed >= NOTICE_SECONDS:
                noticed = time.monotonic()
                holder = os.pread(handle, 1000, 0).decode(errors="replace") or "another process"
                print(f"waiting for {wanted}, which has: {holder}", flush=True)
            time.sleep(POLL_SECONDS)
        else:
            return
