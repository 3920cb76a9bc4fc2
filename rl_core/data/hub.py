"""Files of a dataset repository on a Hugging Face hub, at a commit that is known; imported as `rl_core.hub` is."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download

from rl_core.config.data import DatasetConfig
from rl_core.config.sft import TracesConfig
from rl_core.data.local import copy_file
from rl_core.errors import MistakeError
from rl_core.hub import HUB_ERRORS, ByteProgress, HubRepository, explain, resolve_commit


def fetch_from_hub(dataset: DatasetConfig | TracesConfig, field: str, into: Path) -> dict[str, Any]:
    """Download a data set's files through the hub's cache; where they come from, the commit and their digests.

    A revision that is a commit is taken from the cache without asking, when it is there.

    Raises:
        MistakeError: what is asked for does not exist or is not allowed.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    assert dataset.repo_id, "the schema asks for it when the source is the hub"
    names = dataset.hub_files
    repository = HubRepository("dataset", dataset.repo_id, dataset.revision, f"{field}.repo_id", f"{field}.revision")
    origin = {"source": "hub", "endpoint": constants.ENDPOINT, "repo_id": dataset.repo_id, **names}
    files: list[dict[str, Any]] = []
    setting, name = next(iter(names.items()))
    try:
        commit = resolve_commit(repository, name)
        for setting, name in names.items():  # noqa: B007 - told where it fails
            cached = hf_hub_download(
                dataset.repo_id, name, repo_type="dataset", revision=commit, tqdm_class=ByteProgress
            )
            files.append(copy_file(Path(cached), into))
    except HUB_ERRORS as error:
        no_such_file = (
            f"{field}.{setting} is {name!r}: {dataset.repo_id} on {constants.ENDPOINT} (HF_ENDPOINT) has no such "
            f"file at revision {dataset.revision}"
        )
        raise explain(error, repository, no_such_file) from error
    return {**origin, "revision": dataset.revision, "commit": commit, "files": files}


def fetch_files(repo_id: str, revision: str, names: Sequence[str], field: str) -> tuple[list[Path], dict[str, Any]]:
    """Files of a data set in the hub's cache, and where they come from; in names, `*` stands for any characters.

    Raises:
        MistakeError: what is asked for does not exist or is not allowed.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    repository = HubRepository("dataset", repo_id, revision, field, f"{field}: its revision")
    no_such_file = f"{field}: {repo_id} on {constants.ENDPOINT} (HF_ENDPOINT) has no {', '.join(names)} at {revision}"
    try:
        commit = resolve_commit(repository, names[0] if "*" not in names[0] else "README.md")
        found = [file for name in names for file in _matching(repo_id, commit, name)]
        if not found:
            raise MistakeError(no_such_file)
        files = [
            hf_hub_download(repo_id, name, repo_type="dataset", revision=commit, tqdm_class=ByteProgress)
            for name in found
        ]
    except HUB_ERRORS as error:
        raise explain(error, repository, no_such_file) from error
    origin = {"source": "hub", "endpoint": constants.ENDPOINT, "repo_id": repo_id, "revision": revision}
    return [Path(file) for file in files], {**origin, "commit": commit}


def _matching(repo_id: str, commit: str, name: str) -> list[str]:
    if "*" not in name:
        return [name]
    folder = name.rpartition("/")[0]
    listed = HfApi().list_repo_tree(repo_id, folder or None, repo_type="dataset", revision=commit)
    return sorted(entry.path for entry in listed if fnmatch(entry.path, name))
