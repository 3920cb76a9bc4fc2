"""Where the learned reward model comes from: a folder, read in place, a hub, fetched into the run, or the run.

It is fetched by the stage `warm-up`, with the first policy: one process fetches, a download that fails is tried again
there, and a mistake in the name is told before hours of training and not behind the first evaluation. What its files
say of themselves is looked at before its weights are fetched, and before a run starts where it is a folder.

No torch here; `rl_core.models.reward_model` loads and asks it.
"""

from pathlib import Path
from typing import Any

from rl_core.config import RecipeConfig
from rl_core.config.rewards import RewardConfig
from rl_core.data.prompt import prompt_messages
from rl_core.errors import MistakeError
from rl_core.manifest import publishing, read_json
from rl_core.models.adapter_settings import CONFIG as ADAPTER
from rl_core.models.adapter_settings import FOLDER as ADAPTER_FOLDER
from rl_core.models.adapter_settings import read_lora, require_head
from rl_core.models.source import HubModel, ModelFolder, model_folder
from rl_core.part_keys import finished_part
from rl_core.run_dir import RunDir

FIELD = "rewards: reward_model: model"
REVISION_FIELD = "rewards: reward_model: revision"
HEAD = "ForSequenceClassification"
SCORES = "scores.json"  # of a reward model that the run trains: `mean` and `std` on held-out pairs
DEFAULT_LABELS = 2  # what transformers leaves unwritten in a config.json


def fetched_reward_model(config: RecipeConfig) -> RewardConfig | None:
    """The recipe's reward model where it is to be fetched: it is not trained here, and its name is no folder here."""
    reward = config.learned_reward
    if reward is None or reward.is_trained_here:
        return None
    return None if Path(reward.kwargs["model"]).expanduser().is_dir() else reward


def check_reward_folder(config: RecipeConfig) -> None:
    """Refuse a reward model in a folder that the recipe cannot be run with; what is on a hub is not asked for.

    Raises:
        MistakeError: there is no such folder, or it holds no safetensors, no single score, no chat template, an
            adapter, or a shorter context than `max_tokens`; or no adapter with a head, where the backbone is shared.
    """
    reward = config.learned_reward
    if reward is None or reward.is_trained_here:
        return
    folder = model_folder(reward.kwargs["model"], FIELD)
    if folder is None and reward.shares_backbone:
        raise _refused(
            reward.kwargs["model"],
            "with backbone: shared it is the folder of an adapter, and there is none of that name; adapters are not "
            "fetched",
        )
    if folder is None:
        return
    if "revision" in reward.kwargs:
        raise MistakeError(f"{REVISION_FIELD} does nothing for a model in a folder: remove it")
    if reward.shares_backbone:
        read_lora(folder, FIELD)
        require_head(folder, FIELD)
        return
    _check_description(folder, str(folder), reward)
    ModelFolder(folder, FIELD).check()


def take_reward_model(run: RunDir) -> None:
    """Fetch the recipe's reward model where it is on a hub, and try its chat template; return at once without one.

    Raises:
        MistakeError: there is no such model, or the recipe cannot be run with it.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    reward = run.config.learned_reward
    if reward is None or reward.is_trained_here:
        return
    check_reward_folder(run.config)
    if reward.shares_backbone:
        return
    if fetched_reward_model(run.config) is None:
        _try_template(Path(reward.kwargs["model"]).expanduser(), run.config)
    elif finished_part(run.reward_model, run.keys.reward_model()) is not None:
        print("reward model: already there")
    else:
        _fetch(run, reward)


def local_rewards(run: RunDir) -> list[RewardConfig]:
    """The recipe's rewards, with a reward model that was fetched or trained named by the folder where it is now."""
    learned = run.config.learned_reward
    if learned is None or not (learned.is_trained_here or fetched_reward_model(run.config)):
        return list(run.config.rewards)
    folder = run.reward_model / ADAPTER_FOLDER if learned.shares_backbone else run.reward_model
    kwargs = {**_measured(run), **learned.kwargs} if learned.is_trained_here else learned.kwargs
    here = learned.model_copy(update={"kwargs": {**kwargs, "model": str(folder)}})
    return [here if reward is learned else reward for reward in run.config.rewards]


def _measured(run: RunDir) -> dict[str, float]:
    """Mean and scale of the scores of the run's own reward model, by which they come to the size of other rewards."""
    scores = read_json(run.reward_model / SCORES)
    return {"mean": scores["mean"], "scale": scores["std"] or 1.0}


def _fetch(run: RunDir, reward: RewardConfig) -> None:
    name = reward.kwargs["model"]
    assert model_folder(name, FIELD) is None, "what is a folder is not fetched"
    source = HubModel(name, reward.revision, FIELD, REVISION_FIELD)
    with publishing(run.reward_model, key=run.keys.reward_model(), source=name) as folder:
        source.take_description(folder)
        _check_description(folder, name, reward)
        _try_template(folder, run.config)
        source.take_weights(folder)


def _check_description(folder: Path, name: str, reward: RewardConfig) -> None:
    """Refuse a model by its configuration; transformers is not asked, which takes seconds to import."""
    if (folder / ADAPTER).is_file():
        raise _refused(
            name,
            "it is an adapter: merge it into its model (merge_and_unload of peft) and save that; or, where it is of "
            "the model that the policy starts from, add backbone: shared",
        )
    settings = read_json(folder / "config.json")
    if not isinstance(settings, dict):
        raise _refused(name, "it holds no readable config.json")
    architectures = settings.get("architectures") or []
    if not any(HEAD in architecture for architecture in architectures):
        raise _refused(name, f"its config.json says it is {', '.join(architectures) or 'nothing'}, not a model {HEAD}")
    if (labels := _num_labels(settings)) != 1:
        raise _refused(name, f"it has {labels} labels, and a reward is one number: a model with num_labels 1")
    if not _has_chat_template(folder):
        raise _refused(name, "it has no chat template, by which a conversation becomes text: add chat_template.jinja")
    limit, context = reward.kwargs.get("max_tokens"), settings.get("max_position_embeddings")
    if isinstance(limit, int) and isinstance(context, int) and limit > context:
        raise MistakeError(
            f"rewards: reward_model: max_tokens is {limit}, but the context of {name} is {context} "
            "(max_position_embeddings): at most that"
        )


def _num_labels(settings: dict[str, Any]) -> int:
    names = settings.get("id2label")
    return len(names) if isinstance(names, dict) else int(settings.get("num_labels", DEFAULT_LABELS))


def _has_chat_template(folder: Path) -> bool:
    tokenizer = read_json(folder / "tokenizer_config.json")
    return (folder / "chat_template.jinja").is_file() or bool(
        isinstance(tokenizer, dict) and tokenizer.get("chat_template")
    )


def _try_template(folder: Path, config: RecipeConfig) -> None:
    """Put a conversation of the recipe through the model's chat template, which may refuse a system's turn."""
    from transformers import AutoTokenizer

    messages = [*prompt_messages("1+1", config.data), {"role": "assistant", "content": "2"}]
    # A template raises errors of jinja2, a tokenizer those of several libraries, with no common base.
    try:
        AutoTokenizer.from_pretrained(folder).apply_chat_template(messages, return_dict=False)
    except Exception as error:
        raise _refused(str(folder), f"its tokenizer or chat template fails on a conversation: {error}") from error


def _refused(name: str, reason: str) -> MistakeError:
    return MistakeError(f"{FIELD} is {name!r}: {reason}")
