"""Models on ModelScope, by three facts of its HTTP interface: what a revision holds, one file, and who asks.

    GET <endpoint>/api/v1/models/<owner>/<name>/repo/files?Revision=R&Recursive=False
        {"Code": 200, "Success": true, "Data": {"Files": [{"Path", "Type", "Size", "Sha256", "Revision"}, ...],
         "LatestCommitter": {"ShortId"}}}; `Files` is null where there is no revision R, and `Revision` is the commit
        that last changed the file
    GET <endpoint>/api/v1/models/<owner>/<name>/repo?Revision=R&FilePath=P
        the file, from another host where it is large; a part of it where a Range is asked for
    both with the token as bearer, and as the cookie `m_session_id`, which older endpoints read

Source: modelscope-hub 0.5.1, the hub's own client. It is not used: it is in alpha, and brings a cache, retries and
credentials of its own for what are two requests here. Variables are named as there: MODELSCOPE_ENDPOINT,
MODELSCOPE_API_TOKEN.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx

from rl_core.errors import MistakeError
from rl_core.manifest import file_digest, locked, read_json, write_json
from rl_core.progress import Progress

ENDPOINT_VARIABLE, TOKEN_VARIABLE = "MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN"
ENDPOINT = "https://modelscope.cn"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
NOT_FOUND, REFUSED = 10010205001, (401, 403)  # the first is a `Code` of the hub's own
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository at a revision."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The files at the top of a repository at a revision, and the commit that this is, where the hub says it."""

    commit: str | None
    files: tuple[HubFile, ...]


class ModelScopeRepository:
    """A model's repository at a revision.

    What was fetched is kept in `cache` by its digest, and so is what a commit holds: a revision that is a commit needs
    no hub when everything is there. An interrupted fetch goes on where it stopped.

    Args:
        field, revision_field: the settings that name repository and revision, for messages.

    Raises:
        MistakeError: there is no such repository or revision, or it may not be read.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """

    def __init__(self, name: str, revision: str, cache: Path, *, field: str, revision_field: str) -> None:
        self.name, self.revision = name, revision
        self._cache, self._field, self._revision_field = cache, field, revision_field
        self._endpoint = os.environ.get(ENDPOINT_VARIABLE, ENDPOINT).rstrip("/")
        if REPOSITORY.fullmatch(name) is None:
            raise MistakeError(f"{field} is {name!r}: no name of a repository; expected OWNER/NAME")
        self.listing = self._remembered() or self._ask()

    def fetch(self, file: HubFile) -> Path:
        """One file, as it lies in the cache; its digest is the one that the hub names.

        Raises:
            MistakeError, ConnectionError: as above.
        """
        folder = self._cache / "files" / file.sha256
        folder.mkdir(parents=True, exist_ok=True)
        whole, partial = folder / "content", folder / "partial"
        with locked(folder, wait=True):
            if not whole.is_file():
                self._download(file, partial)
                if file_digest(partial) != file.sha256:
                    partial.unlink()
                    self._fail(f"{file.name} came with another digest than the hub names")
                partial.replace(whole)
        return whole

    def _remembered(self) -> Listing | None:
        """What the commit is known to hold."""
        known = read_json(self._listing_file(self.revision)) if COMMIT.fullmatch(self.revision) else None
        return None if known is None else Listing(self.revision, tuple(HubFile(**file) for file in known["files"]))

    def _ask(self) -> Listing:
        with self._client() as client:
            answer = client.get("repo/files", params={"Revision": self.revision, "Recursive": "False"})
            self._check(answer)
            body = answer.json()
        if isinstance(body, dict) and body.get("Success") is False:
            self._refuse_missing() if body.get("Code") == NOT_FOUND else self._fail(str(body.get("Message")))
        try:
            found = body["Data"]["Files"] or []
            entries = [entry for entry in found if entry["Type"] == "blob"]
            files = tuple(HubFile(entry["Path"], int(entry["Size"]), entry["Sha256"]) for entry in entries)
            commit = self._commit(body["Data"].get("LatestCommitter") or {}, entries)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._fail(f"its answer is not ModelScope's ({type(error).__name__}: {error})", error)
        if not found:
            raise MistakeError(
                f"{self._revision_field} is {self.revision!r}: {self.name} {self._where} has no such revision "
                "(ModelScope's own default is master)"
            )
        listing = Listing(commit, files)
        self._remember(listing)
        return listing

    def _commit(self, latest: dict[str, Any], entries: list[dict[str, Any]]) -> str | None:
        """The newest commit: the hub abbreviates it, and names the commits that last changed each file in full."""
        if COMMIT.fullmatch(self.revision):
            return self.revision
        newest = str(latest.get("Id") or latest.get("ShortId") or "")
        known = [str(entry.get("Revision", "")) for entry in entries]
        return next((commit for commit in known if newest and commit.startswith(newest)), newest or None)

    def _remember(self, listing: Listing) -> None:
        if listing.commit and COMMIT.fullmatch(listing.commit):
            file = self._listing_file(listing.commit)
            file.parent.mkdir(parents=True, exist_ok=True)
            files = [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in listing.files]
            write_json(file, {"files": files})

    def _listing_file(self, commit: str) -> Path:
        return self._cache / "commits" / self.name.replace("/", "--") / f"{commit}.json"

    def _download(self, file: HubFile, partial: Path) -> None:
        """Bring the rest of a file into `partial`."""
        done = partial.stat().st_size if partial.is_file() else 0
        commit = self.listing.commit or ""
        parameters = {"Revision": commit if COMMIT.fullmatch(commit) else self.revision, "FilePath": file.name}
        with (
            self._client() as client,
            client.stream(
                "GET", "repo", params=parameters, headers={"Range": f"bytes={done}-"} if done else {}
            ) as part,
        ):
            if part.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:  # all of it was there already
                return
            self._check(part)
            done = done if part.status_code == httpx.codes.PARTIAL_CONTENT else 0
            with (
                partial.open("ab" if done else "wb", buffering=0) as output,
                Progress(f"download {file.name}", file.size, "byte") as progress,
            ):
                for chunk in part.iter_bytes():
                    done += output.write(chunk)
                    progress.update(done)

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        """A client of this repository, whose failures are told as ours. The token goes to the hub alone."""
        token, cookies = os.environ.get(TOKEN_VARIABLE), httpx.Cookies()
        if token:
            cookies.set("m_session_id", token, domain=urlsplit(self._endpoint).hostname or "")
        try:
            with httpx.Client(
                base_url=f"{self._endpoint}/api/v1/models/{self.name}/",
                headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {}),
                cookies=cookies,
                follow_redirects=True,  # to another host without the header
                timeout=TIMEOUT_SECONDS,
            ) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL, json.JSONDecodeError) as error:
            self._fail(" ".join(str(error).split()) or type(error).__name__, error)

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.NOT_FOUND:
            self._refuse_missing()
        if answer.status_code in REFUSED:
            raise MistakeError(
                f"{self._field} is {self.name!r}: the hub refused ({answer.status_code}) {self._where}: check "
                f"{TOKEN_VARIABLE}"
            )
        answer.raise_for_status()

    @property
    def _where(self) -> str:
        return f"on {self._endpoint} ({ENDPOINT_VARIABLE})"

    def _refuse_missing(self) -> NoReturn:
        raise MistakeError(
            f"{self._field} is {self.name!r}: no such model {self._where}, or a private one: check the name, or set "
            f"{TOKEN_VARIABLE}"
        )

    def _fail(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise ConnectionError(
            f"{self._field} is {self.name!r}: could not be fetched {self._where}; the same command tries again: "
            f"{reason}"
        ) from cause
