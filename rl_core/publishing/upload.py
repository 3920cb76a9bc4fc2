"""Files into a repository of the hub, in one commit: others see the old model or the new one, never half of it.

A file whose content the hub has already is not sent again, whether it came in an earlier commit or in an upload that
was killed: the hub is asked about each before it is sent.
"""

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils.tqdm import disable_progress_bars

from rl_core.config.publishing import PublishConfig
from rl_core.errors import MistakeError
from rl_core.masking import without_secrets
from rl_core.progress import Progress

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")  # of an earlier model in the same place: removed
Content = bytes | Path


def upload(publish: PublishConfig, files: Mapping[str, Content], *, token: str, message: str) -> tuple[str, str]:
    """Make the repository hold `files`; the commit and the address where it shows them.

    Args:
        files: by their path in the repository.

    Raises:
        MistakeError: the hub refuses, or the repository is public where a private one is asked for.
        ConnectionError: the hub did not answer as it should; the same command goes on with what is missing.
    """
    api = HfApi(token=token, library_name="deepscaler-recipe")
    disable_progress_bars()  # of the client; our own says how far it is
    try:
        _make_repository(api, publish)
        additions: list[Any] = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
        _send(api, publish, additions)
        there = set(api.list_repo_files(publish.repo, revision=publish.revision)) - set(files)
        removed = [CommitOperationDelete(name) for name in sorted(there) if any(fnmatch(name, one) for one in WEIGHTS)]
        commit = api.create_commit(
            publish.repo, [*additions, *removed], revision=publish.revision, commit_message=message
        )
    except MistakeError:
        raise
    except Exception as error:  # of whichever HTTP library the client has, besides its own
        raise _explained(error, publish) from error
    return commit.oid, f"{constants.ENDPOINT}/{publish.repo}/tree/{commit.oid}"


def _make_repository(api: HfApi, publish: PublishConfig) -> None:
    api.create_repo(publish.repo, private=publish.private, exist_ok=True)
    if publish.private and not api.model_info(publish.repo).private:
        raise MistakeError(
            f"publish.repo is {publish.repo!r}: it exists and everybody may read it, but publish.private is true: make "
            "it private on its page, take another, or say publish.private=false"
        )
    if publish.revision != constants.DEFAULT_REVISION:
        api.create_branch(publish.repo, branch=publish.revision, exist_ok=True)


def _send(api: HfApi, publish: PublishConfig, additions: list[Any]) -> None:
    """Send the large files one after the other; small ones go with the commit."""
    with Progress("publish", sum(addition.upload_info.size for addition in additions), "byte") as progress:
        sent = 0
        for addition in additions:
            api.preupload_lfs_files(publish.repo, [addition], revision=publish.revision, free_memory=False)
            sent += addition.upload_info.size
            progress.update(sent)


def _explained(error: Exception, publish: PublishConfig) -> Exception:
    """The same error as a person's mistake where it is one, or as a failure that may pass."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    reason = without_secrets(" ".join(str(cause).split()) or type(cause).__name__)
    named = f"publish.repo is {publish.repo!r}"
    if isinstance(cause, HfHubHTTPError) and cause.response.status_code in (400, 401, 402, 403):
        return MistakeError(f"{named}: {constants.ENDPOINT} (HF_ENDPOINT) refuses: {reason}")
    return ConnectionError(f"{named}: not all of it reached {constants.ENDPOINT}; the same command goes on: {reason}")
