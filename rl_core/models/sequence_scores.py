"""A transformer with one score as the trainer sees it: token ids in, the score at the end of each sequence out.

`rl_core.models.reward_model` asks the finished model. Shapes: B rows, T tokens, S sequences.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rl_core.config.models import LoraConfig, PolicyConfig
from rl_core.models.lora import add_adapter
from rl_core.models.settings import check_score_model
from rl_core.models.token_logprobs import packed_inputs
from rl_core.models.token_values import with_new_head

PREFIX = "classifier."


class SequenceScores(torch.nn.Module):
    """Wraps a sequence classifier of one label so that DeepSpeed sees one forward from token ids to scores."""

    def __init__(self, classifier: PreTrainedModel) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(
        self, tokens: torch.Tensor, ends: torch.Tensor, packed_lengths: Sequence[int] | None = None
    ) -> torch.Tensor:
        """The score of each sequence, which is read at its last token.

        Where that is is said, and not looked for: transformers takes the last token that is no padding, which misses
        one token where a chat template ends with the token that pads.

        Args:
            tokens: [B, T] long: one sequence to a row, padded on the right, which causal attention never sees; or
                [1, T], sequences end to end.
            ends: [S] long, places of the last tokens in `tokens` laid out row by row, 0..B*T-1.
            packed_lengths: of the sequences that lie end to end; None: one sequence to a row.

        Returns:
            [S] float32, in the order of `ends`.
        """
        packed = {} if packed_lengths is None else packed_inputs(packed_lengths, tokens.device)
        hidden = self.classifier.base_model(input_ids=tokens, use_cache=False, **packed).last_hidden_state
        scores: torch.Tensor = self.classifier.score(hidden.flatten(0, 1)[ends])
        return scores.squeeze(-1).float()


def load_sequence_scores(
    folder: Path, policy: PolicyConfig, device: torch.device, *, lora: LoraConfig | None
) -> SequenceScores:
    """The model in `folder` with a new head, on the CPU, in the policy's dtype and attention.

    The head begins at zero: every score is equal then and every pair costs log 2, whatever the seed. The first update
    moves the head alone, from the states that the model already has; a head drawn at random would first push the
    transformer along a direction that means nothing. There is no dropout, so that what is trained is what is exported,
    and a gradient does not depend on which sequences are computed together.

    Args:
        lora: the backbone gets an adapter, which is then trained together with the head alone.

    Raises:
        MistakeError: transformers has no sequence classifier of this architecture, or the folder lacks weights.
    """
    check_score_model(folder)
    model = with_new_head(AutoModelForSequenceClassification, folder, policy, device, field="policy.model_name")
    if policy.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if lora is not None:
        add_adapter(model.base_model, lora, field="reward_model.lora.target_modules")
        model.score.requires_grad_(True)
    return SequenceScores(model)
