"""A hub on loopback that takes models: accounts, repositories, branches, large files and commits.

Large files come by Git LFS: the other way of the hub's client, Xet, is no HTTP that could be served here, and is
switched off in `environment()`.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.hub_server import Hub, Repository

TOKEN = "hf_tokenthatnobodymaysee"
COMMIT = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)")
PREUPLOAD = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)")
BRANCH = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/branch/(?P<branch>[^/]+)")
MODEL = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?")
BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class PublishingHub(Hub):
    """A hub with one account, `someone`, who is in the organisation `team`."""

    role: str = "write"  # of the token
    team_role: str = "write"
    private: dict[str, bool] = field(default_factory=dict)  # by repository
    large: dict[str, bytes] = field(default_factory=dict)  # by SHA-256: what was uploaded, committed or not
    messages: list[str] = field(default_factory=list)  # of commits
    hold_uploads: threading.Event | None = None  # where it is, the second large file waits for it, and is lost
    held: threading.Event = field(default_factory=threading.Event)

    def environment(self, home: Path) -> dict[str, str]:
        return {**super().environment(home), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}

    def find(self, path: str, headers: Mapping[str, str]) -> Answer:
        plain = unquote(urlsplit(path).path)
        if plain == "/api/whoami-v2":
            return self._whoami() if self._knows(headers) else _json({"error": "Invalid credentials"}, 401)
        if match := MODEL.fullmatch(plain):
            repository = self.repositories.get(match["repo"])
            if repository is None:
                return 404, {"X-Error-Code": "RepoNotFound"}, b""
            commit = repository.branches.get(match["revision"] or "main", "")
            return _json({"id": match["repo"], "sha": commit, "private": self.private.get(match["repo"], False)})
        return super().find(path, headers)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        plain = unquote(urlsplit(path).path)
        if plain.startswith("/upload/"):
            return self._take_large(plain.rpartition("/")[2], body)
        if not self._knows(headers):
            return _json({"error": "Invalid credentials"}, 401)
        if plain == "/api/repos/create":
            return self._create(json.loads(body))
        if plain == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if match := BRANCH.fullmatch(plain):
            repository = self.repositories[match["repo"]]
            repository.branches.setdefault(match["branch"], repository.branches["main"])
            return _json({})
        if match := PREUPLOAD.fullmatch(plain):
            return self._upload_modes(self.repositories[match["repo"]], match["revision"], json.loads(body))
        if BATCH.fullmatch(plain):
            return self._batch(json.loads(body))
        if match := COMMIT.fullmatch(plain):
            return self._commit(match["repo"], match["revision"], body)
        return 404, {}, b""

    def _knows(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") == f"Bearer {TOKEN}"

    def _whoami(self) -> Answer:
        auth = {"type": "access_token", "accessToken": {"displayName": "t", "role": self.role}}
        orgs = [{"name": "team", "roleInOrg": self.team_role}]
        return _json({"type": "user", "name": "someone", "orgs": orgs, "auth": auth})

    def _create(self, asked: dict[str, Any]) -> Answer:
        repo = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{self.url}/{repo}"}
        if repo in self.repositories:
            return _json(url, 409)
        self.private[repo] = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.commit(repo, {".gitattributes": b""})
        return _json(url)

    def _upload_modes(self, repository: Repository, revision: str, asked: dict[str, Any]) -> Answer:
        there = repository.commits[repository.branches[revision]]
        files = []
        for file in asked["files"]:
            name = file["path"]
            large = name.endswith((".safetensors", ".parquet")) or file["size"] > 1_000_000
            known = there.get(name)
            oid = None if known is None else hashlib.sha256(known).hexdigest() if large else _git_digest(known)
            mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}
            files.append({"path": name, **mode})
        return _json({"files": files})

    def _batch(self, asked: dict[str, Any]) -> Answer:
        objects = []
        for one in asked["objects"]:
            upload = {"upload": {"href": f"{self.url}/upload/{one['oid']}"}}
            objects.append(one if one["oid"] in self.large else {**one, "actions": upload})
        return _json({"transfer": "basic", "objects": objects})

    def _take_large(self, oid: str, body: bytes) -> Answer:
        if self.hold_uploads and self.large:
            self.held.set()
            self.hold_uploads.wait(60)
            self.hold_uploads = None
            return 500, {}, b""  # not kept: whoever sent it is gone
        assert hashlib.sha256(body).hexdigest() == oid
        self.large[oid] = body
        return 200, {}, b""

    def _commit(self, repo: str, branch: str, body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        repository = self.repositories[repo]
        files = dict(repository.commits[repository.branches[branch]])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    self.messages.append(value["summary"])
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.large[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        commit = self.commit(repo, files, branch)
        return _json({"commitUrl": f"{self.url}/{repo}/commit/{commit}", "commitOid": commit})


def _json(value: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _git_digest(content: bytes) -> str:
    """Of a file in Git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
