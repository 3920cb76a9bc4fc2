"""Where a model that the project does not make comes from: a folder, or a repository on Hugging Face or ModelScope.

Each is taken in two parts: the description (configuration, tokenizer), then the weights, which are large; what can be
known from the description is known before they are fetched. Only files at the top of the folder or repository.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rl_core.cache import cache_folder
from rl_core.config.models import PolicyConfig
from rl_core.errors import MistakeError
from rl_core.manifest import MANIFEST, read_json, write_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # which of several files holds which tensor
DESCRIPTION = ("*.json", "*.jinja", "*.txt", "*.model")
POLICY_REVISION = "policy.revision"
ORIGIN = "source.json"  # in the folder of a fetched model: which commit of which repository it is


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model in a folder on this machine."""

    folder: Path
    field: str  # the setting that names it

    def check(self) -> None:
        """Raise MistakeError when a file that a model consists of is missing."""
        self._check_config()
        for name in weight_files(self.folder):
            if not (self.folder / name).is_file():
                raise MistakeError(_no_weights(self.field, str(self.folder), name))

    def take_description(self, into: Path) -> None:
        """Copy the configuration and the tokenizer."""
        self._check_config()
        files = {file for pattern in DESCRIPTION for file in self.folder.glob(pattern) if file.is_file()}
        _copy((file for file in files if file.name != MANIFEST), into)

    def take_weights(self, into: Path) -> None:
        """Copy the weights."""
        _copy((self.folder / name for name in weight_files(self.folder)), into)

    def _check_config(self) -> None:
        if not isinstance(read_json(self.folder / CONFIG), dict):
            raise MistakeError(f"{self.field} is {str(self.folder)!r}: the folder holds no readable {CONFIG}")


class HubModel:
    """A model on a hub, at the commit that its revision stands for when this object is made.

    Files come through the hub's cache: an interrupted fetch goes on with the file where it stopped, and a revision
    that is a commit needs no hub when everything is there. All that the hub does not have, or not at once, is told as
    `rl_core.hub.explain` says.
    """

    def __init__(self, name: str, revision: str, field: str, revision_field: str) -> None:
        from rl_core.hub import HUB_ERRORS, HubRepository, explain, resolve_commit

        self._repository = HubRepository("model", name, revision, field, revision_field)
        try:
            self.commit = resolve_commit(self._repository, CONFIG)
        except HUB_ERRORS as error:
            raise explain(error, self._repository, _no_config(field, name, revision)) from error

    def take_description(self, into: Path) -> None:
        """Fetch the configuration and the tokenizer, and note the commit beside them."""
        from huggingface_hub import snapshot_download

        from rl_core.hub import HUB_ERRORS, SilentProgress, explain

        repository = self._repository
        try:
            found = snapshot_download(
                repository.repo_id,
                revision=self.commit,
                allow_patterns=list(DESCRIPTION),
                ignore_patterns=["*/*"],
                tqdm_class=SilentProgress,
            )
        except HUB_ERRORS as error:
            no_config = _no_config(repository.repo_field, repository.repo_id, repository.revision)
            raise explain(error, repository, no_config) from error
        ModelFolder(Path(found), repository.repo_field).take_description(into)
        origin = {"model_name": repository.repo_id, "revision": repository.revision, "commit": self.commit}
        write_json(into / ORIGIN, origin)

    def take_weights(self, into: Path) -> None:
        """Fetch the weights; the description must be in `into` already."""
        from huggingface_hub import hf_hub_download

        from rl_core.hub import HUB_ERRORS, ByteProgress, explain

        repository = self._repository
        for name in weight_files(into):
            try:
                file = hf_hub_download(repository.repo_id, name, revision=self.commit, tqdm_class=ByteProgress)
            except HUB_ERRORS as error:
                no_weights = _no_weights(repository.repo_field, repository.repo_id, name)
                raise explain(error, repository, no_weights) from error
            _copy([Path(file)], into)


class ModelScopeModel:
    """A model on ModelScope, at the commit that its revision stands for when this object is made."""

    def __init__(self, name: str, revision: str, field: str, revision_field: str) -> None:
        from rl_core.modelscope import ModelScopeRepository

        cache = cache_folder("modelscope")
        self._field = field
        self._repository = ModelScopeRepository(name, revision, cache, field=field, revision_field=revision_field)
        self.commit = self._repository.listing.commit
        self._files = {file.name: file for file in self._repository.listing.files}
        if CONFIG not in self._files:
            raise MistakeError(_no_config(field, name, revision))

    def take_description(self, into: Path) -> None:
        """Fetch the configuration and the tokenizer, and note the commit beside them."""
        repository = self._repository
        for name, file in self._files.items():
            if any(fnmatch(name, pattern) for pattern in DESCRIPTION) and name != MANIFEST:
                shutil.copyfile(repository.fetch(file), into / name)
        origin = {"hub": "modelscope", "model_name": repository.name, "revision": repository.revision}
        write_json(into / ORIGIN, {**origin, "commit": repository.listing.commit})

    def take_weights(self, into: Path) -> None:
        """Fetch the weights; the description must be in `into` already."""
        for name in weight_files(into):
            if name not in self._files:
                raise MistakeError(_no_weights(self._field, self._repository.name, name))
            shutil.copyfile(self._repository.fetch(self._files[name]), into / name)


def find_model(
    policy: PolicyConfig, field: str = "policy.model_name", revision_field: str = POLICY_REVISION
) -> ModelFolder | HubModel | ModelScopeModel:
    """The model that a recipe names, where it is not the embedded one: in a folder, if there is one of that name.

    Raises:
        MistakeError: there is none, or it may not be read.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    folder = model_folder(policy.model_name, field)
    if folder is not None:
        return ModelFolder(folder, field)
    hub = ModelScopeModel if policy.hub == "modelscope" else HubModel
    return hub(policy.model_name, policy.revision, field, revision_field)


def model_folder(name: str, field: str) -> Path | None:
    """The folder that a model's name stands for, or None when it is a name on the hub.

    Raises:
        MistakeError: the name can only be that of a folder, and there is none.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith(("/", "./", "../", "~")):
        raise MistakeError(f"{field} is {name!r}: no such folder (from {Path.cwd()})")
    return None


def weight_files(folder: Path) -> list[str]:
    """The files with the weights of the model whose description is in `folder`."""
    index = read_json(folder / INDEX)
    return sorted(set(index["weight_map"].values())) if index else [WEIGHTS]


def _copy(files: Iterable[Path], into: Path) -> None:
    for file in files:
        shutil.copyfile(file, into / file.name)


def _no_config(field: str, name: str, revision: str) -> str:
    return f"{field} is {name!r}: holds no {CONFIG} at revision {revision}, so it is no model that transformers loads"


def _no_weights(field: str, model: str, file: str) -> str:
    return (
        f"{field} is {model!r}: holds no {file}. Weights must be safetensors; pickled ones (pytorch_model.bin) are "
        "not read: load them with transformers once and save them with save_pretrained, or take another revision"
    )
