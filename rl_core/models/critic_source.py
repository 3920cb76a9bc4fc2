"""Where a model of the critic's own comes from: a folder, read in place, or a hub, fetched into the run.

It is taken by the stage `warm-up`, between the description of the first policy and its weights: what the two must have
in common is known by then, and is told before the weights of either are fetched.
"""

from pathlib import Path

from rl_core.config import RecipeConfig
from rl_core.config.models import CriticConfig, PolicyConfig
from rl_core.errors import MistakeError
from rl_core.manifest import publishing, read_json
from rl_core.models.critic_fit import check_context_of_critic, check_fit
from rl_core.models.settings import CRITIC_FIELD
from rl_core.models.source import CONFIG, ModelFolder, find_model, model_folder
from rl_core.part_keys import finished_part
from rl_core.run_dir import RunDir

REVISION_FIELD = "critic.revision"
EMBEDDED = "embedded"  # what the policy's model_name says where the run makes it


def fetched_critic(config: RecipeConfig) -> CriticConfig | None:
    """The recipe's critic where its model is to be fetched: it has one of its own, whose name is no folder here."""
    critic = config.critic
    if critic is None or critic.model_name is None:
        return None
    return None if Path(critic.model_name).expanduser().is_dir() else critic


def critic_folder(run: RunDir) -> Path:
    """The Hugging Face folder that the critic starts from."""
    critic = run.config.critic
    if critic is None or critic.model_name is None:
        return run.first_policy(0)
    return Path(critic.model_name).expanduser() if fetched_critic(run.config) is None else run.critic


def check_critic_folder(config: RecipeConfig) -> None:
    """Refuse a critic's model in a folder by what needs no transformers; what is on a hub is not asked for.

    Raises:
        MistakeError: there is no such folder, it lacks a file of the model, or its context is shorter than a stage.
    """
    critic = config.critic
    if critic is None or critic.model_name is None:
        return
    folder = model_folder(critic.model_name, CRITIC_FIELD)
    if folder is None and critic.model_name == EMBEDDED:
        raise MistakeError(f"{CRITIC_FIELD} is {EMBEDDED!r}: null takes the model that the policy starts from")
    if folder is None:
        return
    written = critic.model_dump()  # without what is at its default
    for name in ("revision", "hub"):
        if name in written:
            raise MistakeError(f"critic.{name} does nothing for a model in a folder: remove it")
    ModelFolder(folder, CRITIC_FIELD).check()
    context = read_json(folder / CONFIG).get("max_position_embeddings")
    check_context_of_critic(config, context if isinstance(context, int) else None)


def take_critic(run: RunDir, policy: Path) -> None:
    """Fetch the critic's own model where it is on a hub, and see that it fits; return at once without one.

    Args:
        policy: folder with the description of the model that the first policy comes from.

    Raises:
        MistakeError: there is no such model, or it does not fit the policy.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    critic = run.config.critic
    if critic is None or critic.model_name is None:
        return
    check_critic_folder(run.config)
    fetched = fetched_critic(run.config) is not None
    if fetched and finished_part(run.critic, run.keys.critic()) is None:
        _fetch(run, critic, policy)
        return
    if fetched:
        print("critic: already there")
    check_fit(critic_folder(run), policy, run.config)


def require_critic(run: RunDir, index: int) -> None:
    """Refuse to train stage `index` where the critic's own model is not there, or does not fit: it may be newly named.

    Raises:
        MistakeError: the message says which.
    """
    critic = run.config.critic
    if critic is None or critic.model_name is None:
        return
    if fetched_critic(run.config) is not None and finished_part(run.critic, run.keys.critic()) is None:
        raise MistakeError(f"{run.critic} does not hold the critic's model: run `python -m rl_core warm-up` first")
    check_fit(critic_folder(run), run.model_below(index), run.config)


def _fetch(run: RunDir, critic: CriticConfig, policy: Path) -> None:
    assert critic.model_name is not None, "what has no name is not fetched"
    named = PolicyConfig(model_name=critic.model_name, revision=critic.revision, hub=critic.hub)
    source = find_model(named, CRITIC_FIELD, REVISION_FIELD)
    with publishing(run.critic, key=run.keys.critic(), source=critic.model_name) as folder:
        source.take_description(folder)
        check_fit(folder, policy, run.config)
        source.take_weights(folder)
