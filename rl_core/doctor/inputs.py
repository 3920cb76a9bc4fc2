"""Can the models and data sets of a recipe be had from here? Downloads none of them.

Files and folders are read as `preflight` reads them. A hub is asked for each repository's commit and size, all at once,
and each is given a few seconds.
"""

import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rl_core.config import RecipeConfig
from rl_core.data.download import fetched, field_of
from rl_core.doctor.finding import Finding, ok, stop, warning
from rl_core.errors import MistakeError
from rl_core.models.critic_source import REVISION_FIELD as CRITIC_REVISION
from rl_core.models.critic_source import fetched_critic
from rl_core.models.reward_source import FIELD as REWARD_FIELD
from rl_core.models.reward_source import REVISION_FIELD, fetched_reward_model
from rl_core.models.settings import CRITIC_FIELD
from rl_core.models.source import POLICY_REVISION, model_folder
from rl_core.opening import refuse_other_recipe
from rl_core.plan import DONE, base_part, critic_part, sources_part
from rl_core.preflight import check_inputs
from rl_core.rollout.choose import check_engines
from rl_core.run_dir import RunDir

POLICY_FIELD = "policy.model_name"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was found, and how large the policy's weights are, where that is known."""

    findings: list[Finding]
    model_bytes: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a hub said of one repository."""

    finding: Finding
    weight_bytes: int | None = None


def inputs(run: RunDir) -> Inputs:
    """Look at all of them."""
    local = list(_local(run))
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = [future.result() for future in [pool.submit(ask) for ask in _questions(run)]]
    folder = _policy_folder(run.config)
    weights = _folder_bytes(folder) if folder else next((a.weight_bytes for a in answers if a.weight_bytes), None)
    return Inputs([*local, *(answer.finding for answer in answers)], weights)


def _local(run: RunDir) -> Iterator[Finding]:
    looks: dict[str, Callable[[], None]] = {
        "run directory": partial(refuse_other_recipe, run),
        "files, settings": partial(check_inputs, run),
        "stages": partial(check_engines, run.config, _processes(run.config)),
    }
    for check, look in looks.items():
        try:
            look()
        except MistakeError as mistake:
            yield stop(check, str(mistake), "put that right")
        else:
            yield ok(check, "nothing against it")


def _processes(config: RecipeConfig) -> int:
    """As many as divide evenly where the number is found out later; devices are looked at elsewhere."""
    configured = config.training.num_processes
    return configured if configured != "auto" else 64


def _questions(run: RunDir) -> Iterator[Callable[[], Answer]]:
    """One for each repository that the run would still fetch from."""
    if importlib.util.find_spec("huggingface_hub") is None:
        yield _no_client
        return
    from rl_core.doctor.hub import ask_dataset, ask_model, ask_modelscope

    config, policy = run.config, run.config.policy
    if base_part(run).state != DONE and policy.model_name != "embedded" and _policy_folder(config) is None:
        ask = ask_modelscope if policy.hub == "modelscope" else ask_model
        yield partial(ask, policy.model_name, policy.revision, POLICY_FIELD, POLICY_REVISION)
    critic = fetched_critic(config)
    if critic is not None and critic.model_name is not None and critic_part(run).state != DONE:
        ask = ask_modelscope if critic.hub == "modelscope" else ask_model
        yield partial(ask, critic.model_name, critic.revision, CRITIC_FIELD, CRITIC_REVISION, policy=False)
    reward = fetched_reward_model(config)
    if reward is not None:
        yield partial(ask_model, reward.kwargs["model"], reward.revision, REWARD_FIELD, REVISION_FIELD, policy=False)
    if sources_part(run).state != DONE:
        for split, dataset in fetched(config).items():
            if dataset.source == "hub":
                yield partial(ask_dataset, dataset, field_of(split))


def _policy_folder(config: RecipeConfig) -> Path | None:
    try:
        return None if config.policy.model_name == "embedded" else model_folder(config.policy.model_name, POLICY_FIELD)
    except MistakeError:  # said already, by preflight
        return None


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _no_client() -> Answer:
    do = "run this where the stages run: there the hub's client is installed"
    return Answer(warning("hub", "not asked: huggingface_hub is not installed here", do))
