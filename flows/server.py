"""The Prefect server of a run: the one that PREFECT_API_URL names, or one of our own for as long as the run lasts.

Prefect's built-in temporary server is not used: it has no interface to look at, hangs on Ctrl-C, which reaches it as
well, and is left running when the flow is killed. Ours lives in a session of its own, so that Ctrl-C does not reach
it, dies with this process, and is stopped after Prefect's own exit handlers have sent their last records.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn

from rl_core.errors import EXIT_TERMINATED, MistakeError
from rl_core.process_guard import guarded, guarded_environment

API_VARIABLE = "PREFECT_API_URL"
STARTUP_SECONDS = 120.0  # measured: 3 s warm, 12 s with a fresh database, 25 s with four starting at once
STOP_SECONDS = 10.0
POLL_SECONDS = 0.1
NOTICE_SECONDS = 5.0  # between two lines that say what is waited for
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerFailed(RuntimeError):  # noqa: N818 - what happened, as StageFailed
    """Our own server did not start."""


def exit_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit; to be called before Prefect is imported, which then passes it on."""
    signal.signal(signal.SIGTERM, _exit)


def ensure_server(log: Path) -> str:
    """The address of a Prefect API that answers; starts a server of our own where PREFECT_API_URL is not set.

    Args:
        log: where our own server writes.

    Raises:
        MistakeError: the server that PREFECT_API_URL names does not answer.
        ServerFailed: our own did not start.
    """
    address = os.environ.get(API_VARIABLE)
    if address:
        check_answers(address)
    else:
        address = _start_server(log)
        os.environ[API_VARIABLE] = address
    return address


def interface_address(api: str) -> str:
    """Where a browser finds the server whose API is at `api`."""
    return api.rstrip("/").removesuffix("/api")


def check_answers(address: str) -> None:
    """See that a Prefect server answers at `address`.

    Raises:
        MistakeError: none does.
    """
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code < 500:  # it answers; whether it lets us in is found out by Prefect, with its own message
            return
        reason: object = f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
    else:
        return
    raise MistakeError(
        f"{API_VARIABLE}={address}: no Prefect server answers there ({reason}); start it, correct the address, or "
        f"unset {API_VARIABLE} to let the command start a server of its own"
    )


def _start_server(log: Path) -> str:
    port = _free_port()
    address = f"http://127.0.0.1:{port}/api"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            guarded(command),
            env=guarded_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    atexit.register(_stop, server)  # registered before Prefect is imported, and so run after its own
    _wait_until_healthy(server, address, log)
    return address


def _wait_until_healthy(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    started = noticed = time.monotonic()
    while not _healthy(address):
        now = time.monotonic()
        if server.poll() is not None:
            raise ServerFailed(f"the Prefect server ended while starting (exit code {server.returncode}): see {log}")
        if now - started > STARTUP_SECONDS:
            raise ServerFailed(f"the Prefect server did not answer within {STARTUP_SECONDS:.0f} s: see {log}")
        if now - noticed >= NOTICE_SECONDS:
            noticed = now
            print(f"waiting for the Prefect server at {address} ({now - started:.0f} s; log: {log})", flush=True)
        time.sleep(POLL_SECONDS)


def _healthy(address: str) -> bool:
    try:
        with NO_PROXY.open(f"{address}/health", timeout=5) as answer:
            return json.load(answer) is True
    except (OSError, ValueError):
        return False


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server and what it started."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sent)
            server.wait(STOP_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _exit(*_: object) -> NoReturn:
    raise SystemExit(EXIT_TERMINATED)
