"""ModelScope on loopback: what its HTTP interface answers to who lists and fetches the files of a model.

It answers as the real one was observed to: a revision that does not exist is no error but a list of no files, the
newest commit is abbreviated, and large files are on another host. Use the fixture `modelscope`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.hub_server import Hub

TOKEN = "ms-secret"
MODELS, ELSEWHERE = "/api/v1/models/", "/elsewhere/"


@dataclass
class ModelScope(Hub):
    """The repositories, and who asked for what."""

    credentials: list[tuple[str, str, str]] = field(default_factory=list)  # path, Authorization, Cookie
    ranges: list[str] = field(default_factory=list)
    lies: dict[str, bytes] = field(default_factory=dict)  # what is sent in place of a file's content, by its name

    odd: bytes = b""  # what every list of files is answered with

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of a client, with its cache in `home`."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MODELSCOPE_")}
        return {
            **inherited,
            "MODELSCOPE_ENDPOINT": self.url,
            "DEEPSCALER_CACHE": str(home),
            "no_proxy": "127.0.0.1,localhost",
        }

    def counts(self, path: str) -> bool:
        return True

    def find(self, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        where = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(where.query).items()}
        self.credentials.append((where.path, headers.get("Authorization", ""), headers.get("Cookie", "")))
        if where.path.startswith(ELSEWHERE):
            owner, name, commit, file = where.path.removeprefix(ELSEWHERE).split("/")
            return self._part(self.repositories[f"{owner}/{name}"].commits[commit][file], file, headers)
        repo, _, action = where.path.removeprefix(MODELS).partition("/repo")
        if action == "/files" and self.odd:
            return 200, {}, self.odd
        repository = self.repositories.get(repo)
        if repository is None:
            return _answer(404, {"Code": 10010205001, "Success": False, "Message": "record not found", "Data": None})
        if repository.gated and f"Bearer {TOKEN}" != headers.get("Authorization"):
            return _answer(403, {"Code": 10010101010, "Success": False, "Message": "access denied", "Data": None})
        commit = repository.branches.get(asked["Revision"], asked["Revision"])
        if action == "/files":
            return _answer(200, {"Code": 200, "Success": True, "Data": self._listing(repo, commit)})
        content = repository.commits[commit][asked["FilePath"]]
        if asked["FilePath"].endswith(".safetensors"):
            other_host = self.url.replace("127.0.0.1", "localhost")
            return 302, {"Location": f"{other_host}{ELSEWHERE}{repo}/{commit}/{asked['FilePath']}"}, b""
        return self._part(content, asked["FilePath"], headers)

    def _listing(self, repo: str, commit: str) -> dict[str, object]:
        commits = self.repositories[repo].commits
        if commit not in commits:
            return {"Files": None, "LatestCommitter": None}
        files = [
            {
                "Path": name,
                "Name": name,
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
                "Revision": next(changed for changed in commits if commits[changed].get(name) == content),
            }
            for name, content in commits[commit].items()
            if "/" not in name
        ]
        folder = {"Path": "onnx", "Name": "onnx", "Type": "tree", "Size": 0, "Sha256": "", "Revision": commit}
        return {"Files": [folder, *files], "LatestCommitter": {"Id": "", "ShortId": commit[:8]}}

    def _part(self, content: bytes, name: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        content = self.lies.get(name, content)
        asked = headers.get("Range")
        if asked is None:
            return 200, {}, content
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return 416, {}, b""
        return 206, {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}, content[start:]


def _answer(status: int, body: dict[str, object]) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()
