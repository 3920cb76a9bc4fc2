"""What a hub says of a repository: is it there for us, at which commit, how large. Imports the hub's client."""

from collections.abc import Iterable

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.hf_api import RepoFile

from rl_core.cache import cache_folder
from rl_core.config.data import DatasetConfig
from rl_core.config.sft import TracesConfig
from rl_core.doctor.finding import Finding, ok, stop
from rl_core.doctor.inputs import Answer
from rl_core.errors import MistakeError
from rl_core.hub import HUB_ERRORS, HubRepository, explain
from rl_core.modelscope import ModelScopeRepository

SECONDS = 10.0  # for one answer
CONFIG = "config.json"
GB = 10**9
LATER = (
    "check the connection, HF_ENDPOINT and proxies; without network, fetch it into the cache first and give a commit"
)


def ask_model(name: str, revision: str, field: str, revision_field: str, *, policy: bool = True) -> Answer:
    """A model of Hugging Face."""
    repository = HubRepository("model", name, revision, field, revision_field)
    try:
        commit = _commit(repository, CONFIG)
        size = _weights(HfApi(endpoint=constants.ENDPOINT).list_repo_tree(name, revision=commit))
    except HUB_ERRORS as error:
        no_config = f"{field} is {name!r}: holds no {CONFIG} at revision {revision}"
        return Answer(_failed(error, repository, CONFIG, no_config))
    finding = ok("model", f"{name} at {commit[:12]}, {size / GB:.1f} GB of weights, {_where()}")
    return Answer(finding, size if policy else None)


def ask_dataset(dataset: DatasetConfig | TracesConfig, field: str) -> Answer:
    """The files of a data set of Hugging Face."""
    assert dataset.repo_id, "the schema asks for it when the source is the hub"
    repository = HubRepository("dataset", dataset.repo_id, dataset.revision, f"{field}.repo_id", f"{field}.revision")
    commit = ""
    for setting, file in dataset.hub_files.items():
        try:
            commit = _commit(repository, file)
        except HUB_ERRORS as error:
            no_file = f"{field}.{setting} is {file!r}: {dataset.repo_id} has no such file at {dataset.revision}"
            return Answer(_failed(error, repository, file, no_file))
    return Answer(ok(field, f"{dataset.repo_id} at {commit[:12]}, {', '.join(dataset.hub_files.values())}, {_where()}"))


def ask_modelscope(name: str, revision: str, field: str, revision_field: str, *, policy: bool = True) -> Answer:
    """A model of ModelScope."""
    cache = cache_folder("modelscope")
    try:
        listing = ModelScopeRepository(name, revision, cache, field=field, revision_field=revision_field).listing
    except MistakeError as mistake:
        return Answer(stop("model", str(mistake), "put that right"))
    except ConnectionError as error:
        return Answer(stop("model", str(error), "check the connection, MODELSCOPE_ENDPOINT and proxies"))
    size = sum(file.size for file in listing.files if file.name.endswith(".safetensors"))
    found = f"{name} at {(listing.commit or revision)[:12]}, {size / GB:.1f} GB of weights, on ModelScope"
    return Answer(ok("model", found), size if policy else None)


def _commit(repository: HubRepository, file: str) -> str:
    url = hf_hub_url(repository.repo_id, file, repo_type=repository.kind, revision=repository.revision)
    commit = get_hf_file_metadata(url, timeout=SECONDS).commit_hash
    if commit is None:
        raise ConnectionError(f"{url} did not say which commit it is: not a Hugging Face hub")
    return commit


def _weights(entries: Iterable[object]) -> int:
    return sum(one.size for one in entries if isinstance(one, RepoFile) and one.path.endswith(".safetensors"))


def _failed(error: Exception, repository: HubRepository, file: str, no_such_file: str) -> Finding:
    """A person's mistake, or a hub that does not answer; the latter does no harm to what is in the cache."""
    check = "model" if repository.kind == "model" else repository.repo_field.removesuffix(".repo_id")
    told = explain(error, repository, no_such_file)
    if isinstance(told, MistakeError) and not constants.is_offline_mode():
        return stop(check, str(told), "put that right")
    cached = try_to_load_from_cache(repository.repo_id, file, revision=repository.revision, repo_type=repository.kind)
    if isinstance(cached, str):
        return ok(check, f"{repository.repo_id}, in the local cache; the hub does not answer")
    return stop(check, str(told), LATER)


def _where() -> str:
    return f"on {constants.ENDPOINT}"
