"""Under which licence a model is published: that of the model that it was trained from, unless the recipe says."""

from pathlib import Path
from typing import Any

import yaml

from rl_core.config import RecipeConfig
from rl_core.errors import MistakeError
from rl_core.models.source import POLICY_REVISION, model_folder

OWN = "apache-2.0"  # of the embedded model, as of the project that makes it
FRONT_MATTER = "---"


def license_of(config: RecipeConfig) -> str:
    """The licence, as the hub calls it.

    Raises:
        MistakeError: nobody says.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    assert config.publish is not None, "asked only where the recipe publishes"
    if config.publish.license is not None:
        return config.publish.license
    policy = config.policy
    if policy.model_name == "embedded":
        return OWN
    folder = model_folder(policy.model_name, "policy.model_name")
    if folder is not None:
        found = front_matter(folder / "README.md").get("license")
    else:
        found = _on_the_hub(policy.model_name, policy.revision) if policy.hub == "huggingface" else None
    if not isinstance(found, str) or found in ("", "other", "unknown"):
        said = "does not say which" if found is None else f"says {found!r}"
        raise MistakeError(
            f"publish.license: the card of {policy.model_name} (policy.model_name) {said}: look up under which licence "
            "it may be passed on, and give it, as publish.license=mit"
        )
    return found


def front_matter(card: Path) -> dict[str, Any]:
    """The metadata at the head of a model card; empty where there is none that can be read."""
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    _, opened, rest = text.partition(f"{FRONT_MATTER}\n")
    try:
        values = yaml.safe_load(rest.partition(f"\n{FRONT_MATTER}")[0]) if opened else None
    except yaml.YAMLError:
        values = None
    return values if isinstance(values, dict) else {}


def _on_the_hub(name: str, revision: str) -> Any:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RemoteEntryNotFoundError

    from rl_core.hub import HUB_ERRORS, HubRepository, explain

    repository = HubRepository("model", name, revision, "policy.model_name", POLICY_REVISION)
    try:
        return front_matter(Path(HfApi().hf_hub_download(name, "README.md", revision=revision))).get("license")
    except RemoteEntryNotFoundError:
        return None  # a model without a card
    except HUB_ERRORS as error:
        raise explain(error, repository, "") from error
