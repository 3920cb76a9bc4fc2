"""Does a model of the critic's own fit the policy: does it know every token by the same id, and reach as far?

The critic reads the policy's token ids. One that it has no embedding for ends a training at some step, and one that
means another token there, or lies behind its context, is learned from in silence.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rl_core.config import RecipeConfig
from rl_core.errors import MistakeError
from rl_core.models.settings import CRITIC_FIELD, check_value_model, load_settings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# transformers makes an empty tokenizer of a folder without any of these.
TOKENIZER = ("tokenizer*", "vocab*", "*.model")
INSTEAD = "take a model of the policy's family, or null, the model that the policy starts from"


def check_fit(folder: Path, policy: Path, config: RecipeConfig) -> None:
    """Refuse a critic's model that cannot take the policy's place, by the descriptions of both; no weights are read.

    Args:
        folder: with the description of the critic's model.
        policy: with that of the model that the first policy comes from.

    Raises:
        MistakeError: no critic can be made of it, it is smaller than it must be, or its tokenizer gives other ids.
    """
    check_value_model(folder, CRITIC_FIELD, config.critic.model_name if config.critic else None)
    critic = load_settings(folder, CRITIC_FIELD)
    check_context_of_critic(config, _number(critic, "max_position_embeddings"))
    tokens = _vocabulary(policy, config)
    _check_size(_number(critic, "vocab_size"), max(tokens.values()) + 1, config)
    _check_ids(_vocabulary(folder, config), tokens, config)


def check_context_of_critic(config: RecipeConfig, context: int | None) -> None:
    """Refuse a critic with a shorter context (in tokens; None: no limit is known) than a stage.

    Raises:
        MistakeError: the message says how much is needed.
    """
    for index, stage in enumerate(config.stages):
        if context is not None and stage.context_tokens > context:
            raise _refused(
                config,
                f"its context is {context} (max_position_embeddings), but stages.{index} has {stage.context_tokens} "
                f"tokens of prompt and response: at least that; shorten the stage, or {INSTEAD}",
            )


def _check_size(embeddings: int | None, needed: int, config: RecipeConfig) -> None:
    """Of one family, larger models may have more embeddings than tokens: those beyond the last token are not needed."""
    if embeddings is not None and embeddings < needed:
        raise _refused(
            config,
            f"it has embeddings for {embeddings} tokens (vocab_size), and {config.policy.model_name} has {needed}: at "
            f"least that; {INSTEAD}",
        )


def _check_ids(critic: dict[str, int], policy: dict[str, int], config: RecipeConfig) -> None:
    """Every token of the policy's must be the critic's, by the same id; what the critic has beside them is not read."""
    other = sorted((number, token) for token, number in policy.items() if critic.get(token) != number)
    if other:
        number, token = other[0]
        there = f"has id {critic[token]}" if token in critic else "is no token"
        raise _refused(
            config,
            f"its tokenizer is not that of {config.policy.model_name}: {len(other)} of {len(policy)} tokens are "
            f"others, first {token!r}, which has id {number} and {there} for the critic; {INSTEAD}",
        )


def _vocabulary(folder: Path, config: RecipeConfig) -> dict[str, int]:
    from transformers import AutoTokenizer

    if not any(any(folder.glob(pattern)) for pattern in TOKENIZER):
        raise _refused(
            config,
            "it holds no tokenizer, by which to see that its ids are the policy's: where it was trained with the "
            "policy's, add that",
        )
    # A file that is damaged raises errors of several libraries, with no common base.
    try:
        vocabulary: dict[str, int] = AutoTokenizer.from_pretrained(folder).get_vocab()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _refused(config, f"the tokenizer in {folder} cannot be loaded: {reason}") from error
    return vocabulary


def _number(settings: "PreTrainedConfig", name: str) -> int | None:
    value = getattr(settings.get_text_config(), name, None)
    return value if isinstance(value, int) else None


def _refused(config: RecipeConfig, reason: str) -> MistakeError:
    assert config.critic is not None, "asked only where there is one"
    return MistakeError(f"{CRITIC_FIELD} is {config.critic.model_name!r}: {reason}")
