"""Weights & Biases on loopback: as much of its interface as the real client needs to begin, resume and fill a run.

Use the fixture `weights_and_biases`. Give `environment()` to who is to find it.
"""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from tests.hub_server import LoopbackServer

KEY = "0123456789" * 4
ENTITY = {"id": "e1", "name": "someone"}


@dataclass
class WandbServer:
    """What was sent, by run; serves on a free port of loopback while the block lasts."""

    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)  # of everything, to look for what must not be there

    def __post_init__(self) -> None:
        self._server = LoopbackServer(_handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """Variables that lead a client here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def answer(self, path: str, body: str) -> dict[str, Any]:
        """What it says to a request, after taking what it brings."""
        self.bodies.append(f"{path} {body}")
        if path.endswith("/file_stream"):
            self._take_lines(path.split("/")[4], json.loads(body))
            return {}
        if not path.endswith("/graphql"):
            return {}
        request = json.loads(body)
        query, values = request["query"], request["variables"]
        if "upsertBucket" in query:
            return {"data": {"upsertBucket": {"inserted": True, "bucket": self._bucket(values)}}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in values["files"]]
            return {"data": {"createRunFiles": {"runID": "b1", "uploadHeaders": [], "files": files}}}
        if "bucket(" in query:
            return {
                "data": {"model": {"id": "p1", "name": "p", "entity": ENTITY, "bucket": self._known(values["name"])}}
            }
        return {"data": {}}

    def _bucket(self, values: dict[str, Any]) -> dict[str, Any]:
        config = json.loads(values.get("config") or "{}")
        self.configs.setdefault(values["name"], {}).update(config)
        project = {"id": "p1", "name": values["project"], "entity": ENTITY}
        named = {"id": "b1", "name": values["name"], "displayName": values.get("displayName"), "project": project}
        return {
            **named,
            "config": "{}",
            "sweepName": None,
            "historyLineCount": len(self.history.get(values["name"], [])),
        }

    def _known(self, run: str) -> dict[str, Any] | None:
        """What a client that resumes is told of the run."""
        if run not in self.configs:
            return None
        lines = self.history.get(run, [])
        return {
            "id": "b1",
            "name": run,
            "displayName": run,
            "summaryMetrics": "{}",
            "logLineCount": 0,
            "historyLineCount": len(lines),
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in lines[-1:]]),
            "eventsTail": "[]",
            "config": json.dumps(self.configs[run]),
            "tags": [],
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _take_lines(self, run: str, sent: dict[str, Any]) -> None:
        """Lines of history replace what stood from their offset on."""
        part = (sent.get("files") or {}).get("wandb-history.jsonl")
        if part:
            lines = self.history.setdefault(run, [])
            lines[part["offset"] :] = [json.loads(line) for line in part["content"]]


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
            content = json.dumps(server.answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: `bodies` has it."""

    return Handler
