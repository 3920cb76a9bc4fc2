"""A model's configuration in its folder: the recipe's overrides written into it, and whether the recipe can use it.

Imports transformers only when called, since `rl_core.preflight` uses what needs none.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_core.config import RecipeConfig
from rl_core.errors import MistakeError
from rl_core.manifest import read_json, write_json, write_text

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

FIELD = "policy.hf_config_overrides"
CHAT_TEMPLATE = "chat_template.jinja"
CRITIC_FIELD = "critic.model_name"
# transformers reads the second in place of the first where a config.json has both.
ROPE = {"rope_theta": "rope_parameters", "rope_scaling": "rope_parameters", "rope_parameters": "rope_scaling"}


def override_settings(folder: Path, overrides: dict[str, Any]) -> None:
    """Write the overrides into config.json, where every later reader of the model finds them.

    A group of settings takes over those that are given, and keeps the others.

    Raises:
        MistakeError: an override would have no effect.
    """
    if not overrides:
        return
    file = folder / "config.json"
    written = read_json(file)
    known = load_settings(folder)
    for name in overrides:
        if written.get(ROPE.get(name, "")):
            raise MistakeError(
                f"{FIELD}.{name}: this model's config.json has {ROPE[name]}, which decides: override {FIELD}."
                f"{ROPE[name]} instead (it holds {written[ROPE[name]]})"
            )
        if name not in written and name not in ROPE and not hasattr(known, name):
            raise MistakeError(f"{FIELD}.{name}: a model of type {known.model_type} has no such setting")
    write_json(file, _merged(written, overrides))


def set_chat_template(folder: Path, template: str | None) -> None:
    """Write a chat template of the recipe's own (None: the model keeps its own) where the tokenizer is loaded from."""
    if template is not None:
        write_text(folder / CHAT_TEMPLATE, template)  # transformers takes it before one in tokenizer_config.json


def check_description(folder: Path, config: RecipeConfig) -> None:
    """Refuse a model that transformers cannot load, or that the recipe cannot be run with.

    Raises:
        MistakeError: the message says why.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoTokenizer

    from rl_core.data.chat_template import check_turns

    model = f"policy.model_name is {config.policy.model_name!r}"
    settings = load_settings(folder)
    if type(settings) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise MistakeError(
            f"{model}: of type {settings.model_type}, which transformers knows as no causal language model"
        )
    check_context(config, getattr(settings.get_text_config(), "max_position_embeddings", None))
    if config.critic is not None and config.critic.model_name is None:  # a model of its own: see `critic_source`
        check_value_model(folder, CRITIC_FIELD)
    if config.reward_model is not None:
        check_score_model(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise MistakeError(f"{model}: its tokenizer cannot be loaded: {_first_line(error)}") from error
    if tokenizer.chat_template is None:
        raise MistakeError(
            f"{model}: its tokenizer has no chat template, by which problems become prompts: take a model that has, or "
            f"a folder with the model and a {CHAT_TEMPLATE}, or give data.chat_template"
        )
    own = f"the chat template of {config.policy.model_name}"
    check_turns(
        lambda turns: tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False),
        config.data,
        own if config.data.chat_template is None else "data.chat_template",
    )


def check_value_model(folder: Path, field: str, name: str | None = None) -> None:
    """Refuse a model from which no critic can be made: transformers must know a token classifier of its kind.

    Those of older families, which name their parts in ways of their own, are refused with the rest.

    Args:
        name: of the model, for the message; None: its folder.

    Raises:
        MistakeError: the message names the kind.
    """
    from transformers import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING
    from transformers.modeling_layers import GenericForTokenClassification

    settings = load_settings(folder, field)
    known = MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING
    if type(settings) not in known or not issubclass(known[type(settings)], GenericForTokenClassification):
        raise MistakeError(
            f"{field}: no critic can be made of {name or folder}, a model of type {settings.model_type}, for which "
            "transformers has no token classifier of the usual build: take one that has, as those of Qwen, Llama and "
            "Mistral, or a baseline without a critic"
        )


def check_score_model(folder: Path) -> None:
    """Refuse a policy from which no reward model can be made: transformers must know a classifier of its kind.

    Raises:
        MistakeError: the message names the kind.
    """
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    from transformers.modeling_layers import GenericForSequenceClassification

    settings = load_settings(folder)
    known = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(settings) not in known or not issubclass(known[type(settings)], GenericForSequenceClassification):
        raise MistakeError(
            f"policy.model_name: no reward model can be made of {folder}, a model of type {settings.model_type}, for "
            "which transformers has no sequence classifier of the usual build: take one that has, as those of Qwen, "
            "Llama and Mistral, or a recipe without `reward_model`"
        )


def check_context(config: RecipeConfig, context: int | None) -> None:
    """Refuse what is longer than the model's context (None: the model has no limit): a stage, rows, or responses."""
    for index, stage in enumerate(config.stages):
        if context is not None and stage.context_tokens > context:
            raise MistakeError(
                f"stages.{index}: {stage.context_tokens} tokens of prompt and response, but the context of "
                f"{config.policy.model_name} is {context} (max_position_embeddings): shorten the stage, or extend the "
                f"context with {FIELD}"
            )
    for name, section in (("sft", config.sft), ("reward_model", config.reward_model)):
        if context is not None and section is not None and section.max_tokens > context:
            raise MistakeError(
                f"{name}.max_tokens is {section.max_tokens}, but the context of {config.policy.model_name} is "
                f"{context} (max_position_embeddings): at most that"
            )
    if context is not None and config.pairs is not None and config.pairs.max_new_tokens >= context:
        raise MistakeError(
            f"pairs.max_new_tokens is {config.pairs.max_new_tokens}, but the context of {config.policy.model_name} is "
            f"{context} (max_position_embeddings), of which the prompt takes a part: lower it"
        )


def load_settings(folder: Path, field: str = "policy.model_name, policy.hf_config_overrides") -> "PreTrainedConfig":
    """The configuration in a folder, as transformers understands it.

    Raises:
        MistakeError: it does not.
    """
    from transformers import AutoConfig

    # The classes that check the values raise errors of the hub's library and of their own, with no common base.
    try:
        return AutoConfig.from_pretrained(folder)
    except Exception as error:
        raise MistakeError(f"{field}: transformers does not load this config.json: {_first_line(error)}") from error


def _merged(written: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    both = dict(written)
    for name, value in overrides.items():
        old = written.get(name)
        both[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
