"""Repositories on a Hugging Face hub: the commit that a revision stands for, and failures in words for a person.

Imported only when a recipe names the hub: huggingface_hub reads HF_ENDPOINT, HF_HOME and HF_TOKEN when imported.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from rl_core.errors import MistakeError
from rl_core.progress import Progress

COMMIT = re.compile(r"[0-9a-f]{40}")
REFUSED = (401, 403)  # HTTP: unauthorised, forbidden
# The bases: OSError, and what the hub's HTTP client raises by itself where nobody answers.
HUB_ERRORS: tuple[type[Exception], ...] = (
    HFValidationError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    LocalEntryNotFoundError,
    *HfHubHTTPError.__bases__,
)


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository at a revision, and the settings that name both."""

    kind: Literal["dataset", "model"]
    repo_id: str
    revision: str
    repo_field: str
    revision_field: str


def resolve_commit(repository: HubRepository, file: str) -> str:
    """The commit that the revision, a branch or tag, stands for now; asks for a file that must be there."""
    if COMMIT.fullmatch(repository.revision):
        return repository.revision
    url = hf_hub_url(repository.repo_id, file, repo_type=repository.kind, revision=repository.revision)
    commit = get_hf_file_metadata(url, retry_on_errors=True).commit_hash
    if commit is None:
        raise ConnectionError(f"{url} did not say which commit it is: not a Hugging Face hub")
    return commit


def explain(error: Exception, repository: HubRepository, no_such_file: str) -> Exception:
    """The same error as a person's mistake where it is one, or as a failure that may pass.

    Args:
        no_such_file: what to say when the repository does not hold the file.
    """
    hub = f"on {constants.ENDPOINT} (HF_ENDPOINT)"
    kind, repo_id = repository.kind, repository.repo_id
    repo = f"{repository.repo_field} is {repo_id!r}"
    if isinstance(error, HFValidationError):
        return MistakeError(f"{repo}: no name of a repository; expected OWNER/NAME")
    if isinstance(error, GatedRepoError):
        return MistakeError(f"{repo}: its owner must let you in: ask on its page {hub}, then set HF_TOKEN")
    if isinstance(error, RepositoryNotFoundError):
        return MistakeError(f"{repo}: no such {kind} {hub}, or a private one: check the name, or set HF_TOKEN")
    if isinstance(error, RevisionNotFoundError):
        revision = f"{repository.revision_field} is {repository.revision!r}"
        return MistakeError(f"{revision}: {repo_id} {hub} has no such revision")
    if isinstance(error, RemoteEntryNotFoundError):
        return MistakeError(no_such_file)
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
    if isinstance(cause, HfHubHTTPError) and cause.response.status_code in REFUSED:
        return MistakeError(f"{repo}: the hub refused ({cause.response.status_code}) {hub}: check HF_TOKEN")
    if isinstance(cause, OfflineModeIsEnabled) or constants.is_offline_mode():
        return MistakeError(
            f"{repo}: not in the local cache, and HF_HUB_OFFLINE forbids to ask: unset it, or set "
            f"{repository.revision_field} to a commit that was downloaded before"
        )
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return ConnectionError(f"{repo}: could not be fetched {hub}; the same command tries again: {reason}")


class SilentProgress(tqdm):
    """The hub's progress bar, not shown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]


class ByteProgress(SilentProgress):
    """The hub's progress bar, told through the project's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress = Progress(f"download {kwargs.get('desc', '')}", kwargs.get("total") or 0, "byte")
        self._done = kwargs.get("initial") or 0
        self._progress.__enter__()

    def close(self) -> None:
        self._progress.__exit__()
        super().close()

    def update(self, n: float | None = 1) -> None:
        self._done += int(n or 0)
        self._progress.update(self._done)
