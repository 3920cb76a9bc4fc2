"""A Hugging Face hub on loopback: as much of its HTTP interface as the real client needs to list and fetch files.

Use the fixture `hub`. Clients must be started with `environment()`, since they read HF_ENDPOINT when imported.
"""

import hashlib
import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Generic, Self, TypeVar
from urllib.parse import unquote, urlsplit

RESOLVE = re.compile(r"/(?:datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
TREE = re.compile(r"/api/(?:models|datasets)/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")


@dataclass
class Repository:
    """Files by name at each commit, and the commits that branches and tags stand for."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False


@dataclass
class Hub:
    """The repositories, what was asked, and what goes wrong."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # for files and lists of them, in order: "HEAD /datasets/..."
    failures: list[tuple[str, int]] = field(default_factory=list)  # requests still to fail ("GET*.json"), and how
    stall: threading.Event | None = None  # set it to let downloads, which stop half way, go on
    stalling: str = ""  # how the names of the files end that stall; "" is all
    stalled: threading.Event = field(default_factory=threading.Event)

    def commit(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit to a repository, made where there is none; its identifier."""
        repository = self.repositories.setdefault(repo, Repository())
        identifier = hashlib.sha1(repr((repo, sorted(files.items()), len(repository.commits))).encode()).hexdigest()
        repository.commits[identifier] = files
        repository.branches[branch] = identifier
        return identifier

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of a client of this hub, with its cache and settings in `home`."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        return {**inherited, "HF_ENDPOINT": self.url, "HF_HOME": str(home), "no_proxy": "127.0.0.1"}

    def counts(self, path: str) -> bool:
        """Whether a request is for files or lists of them: the client asks other things too, as its version has it."""
        return "/resolve/" in path or "/tree/" in path

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for what is sent to a path: nothing is taken here; see publishing_hub.py."""
        return 405, {}, b""

    def find(self, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path and the headers of who asks."""
        path = unquote(urlsplit(path).path)
        match = RESOLVE.fullmatch(path) or TREE.fullmatch(path)
        repository = self.repositories.get(match["repo"]) if match else None
        if match is None or repository is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = repository.branches.get(match["revision"], match["revision"])
        if commit not in repository.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        files = repository.commits[commit]
        if match.re is TREE:  # of a gated repository too
            return 200, {"Content-Type": "application/json"}, json.dumps(_listed(files, match["folder"])).encode()
        if repository.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        content = files.get(match["file"])
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}, content


H = TypeVar("H", bound=Hub)


def _listed(files: dict[str, bytes], folder: str | None) -> list[dict[str, str | int]]:
    return [
        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for name, content in files.items()
        if folder is None or name.startswith(f"{folder}/")
    ]


class LoopbackServer(ThreadingHTTPServer):
    """Threads that end with the process, and not a word of clients that were killed."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


class HubServer(Generic[H]):
    """Serves a Hub on a free port of loopback while the block lasts."""

    def __init__(self, hub: H) -> None:
        self.hub = hub
        self._server = LoopbackServer(_handler(self.hub))
        self.hub.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hub.stall:
            self.hub.stall.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(lambda content: None)

        def do_GET(self) -> None:
            self._answer(self._send)

        def do_POST(self) -> None:
            self._take()

        def do_PUT(self) -> None:
            self._take()

        def _take(self) -> None:
            body = self._body()
            hub.requests.append(f"{self.command} {self.path}")
            status, headers, content = hub.take(self.path, self.headers, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            try:
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:  # the client was killed
                self.close_connection = True

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, send: Callable[[bytes], None]) -> None:
            status, headers, content = hub.find(self.path, self.headers)
            request = f"{self.command} {self.path}"
            if hub.counts(self.path):
                hub.requests.append(request)
                if hub.failures and fnmatch(request, f"{hub.failures[0][0]}*"):
                    status, headers, content = hub.failures.pop(0)[1], {}, b""
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            send(content)

        def _send(self, content: bytes) -> None:
            if hub.stall and content and self.path.endswith(hub.stalling):
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                hub.stalled.set()
                hub.stall.wait(30)
                content = content[len(content) // 2 :]
            try:
                self.wfile.write(content)
            except ConnectionError:  # the client was killed
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing: `requests` has it."""

    return Handler
