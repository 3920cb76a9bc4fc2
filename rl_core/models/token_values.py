"""A transformer with a scalar head as the trainer sees it: token ids in, the value before each response token out.

Shapes: B rows, T tokens, N response tokens of all of them laid end to end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from rl_core.config.models import LoraConfig, PolicyConfig
from rl_core.errors import MistakeError
from rl_core.models.load import choose_attention, compute_dtype, without_dropout
from rl_core.models.lora import add_adapter
from rl_core.models.settings import CRITIC_FIELD, check_value_model
from rl_core.models.token_logprobs import new_value_head, packed_inputs

PREFIX = "token_classifier."


class ValueModel(torch.nn.Module):
    """A new head on the transformer of a causal language model, put together as a token classifier is."""

    def __init__(self, causal_lm: PreTrainedModel) -> None:
        super().__init__()
        self.base_model, self.score = causal_lm.base_model, new_value_head(causal_lm)
        self.dtype = causal_lm.dtype


class TokenValues(torch.nn.Module):
    """Wraps a token classifier of one label so that DeepSpeed sees one forward from token ids to values."""

    def __init__(self, token_classifier: PreTrainedModel | ValueModel) -> None:
        super().__init__()
        self.token_classifier = token_classifier

    def forward(
        self, tokens: torch.Tensor, response_mask: torch.Tensor, packed_lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        """The value of the state before each response token, which is read at the token before it.

        Args:
            tokens, response_mask, packed_lengths: as for `TokenLogprobs`.

        Returns:
            [N] float32, in the order of response_mask.nonzero().
        """
        packed = {} if packed_lengths is None else packed_inputs(packed_lengths, tokens.device)
        hidden = self.token_classifier.base_model(input_ids=tokens, use_cache=False, **packed).last_hidden_state
        values: torch.Tensor = self.token_classifier.score(hidden[:, :-1][response_mask[:, 1:]])
        return values.squeeze(-1).float()


def load_token_values(
    folder: Path, policy: PolicyConfig, device: torch.device, *, lora: LoraConfig | None = None
) -> TokenValues:
    """The model in `folder` with a new head, on the CPU, in the policy's dtype and attention.

    The head begins at zero, so that the first advantages are those without a critic, whatever the seed. It has no
    dropout, since old and new values of one state are compared. (verl draws it from a normal distribution.)

    Args:
        lora: the backbone gets an adapter, which is then trained together with the head alone.

    Raises:
        MistakeError: transformers has no token classifier of this architecture, or the folder lacks weights.
    """
    check_value_model(folder, CRITIC_FIELD)
    model = with_new_head(AutoModelForTokenClassification, folder, policy, device, field=CRITIC_FIELD)
    if policy.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if lora is not None:
        add_adapter(model.base_model, lora, field="critic.lora.target_modules")
        model.score.requires_grad_(True)
    return TokenValues(model)


def with_new_head(
    kind: type[AutoModelForTokenClassification] | type[AutoModelForSequenceClassification],
    folder: Path,
    policy: PolicyConfig,
    device: torch.device,
    *,
    field: str,
) -> PreTrainedModel:
    """A classifier of one label whose head is zero and all else from the folder.

    Args:
        field: of the configuration that names the folder, for messages.

    Raises:
        MistakeError: the folder lacks weights of the model below the head.
    """
    config = without_dropout(AutoConfig.from_pretrained(folder, num_labels=1))
    config.classifier_dropout = 0.0  # which is not there where it is at its default
    with without_report():  # which would say of every run that the head is new
        model, found = kind.from_pretrained(
            folder,
            config=config,
            dtype=compute_dtype(policy, device),
            attn_implementation=choose_attention(folder, policy, device),
            output_loading_info=True,
        )
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("score."))
    if missing:
        raise MistakeError(f"{field}: {folder} lacks {len(missing)} of the model's weights, first {missing[0]}")
    for parameter in model.score.parameters():
        torch.nn.init.zeros_(parameter)
    return model


@contextmanager
def without_report() -> Iterator[None]:
    """Without what transformers tells of weights that a folder lacks."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
