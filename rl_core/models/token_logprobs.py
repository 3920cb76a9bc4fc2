"""A causal language model as the trainer sees it: token ids in, log-probability and entropy of the response tokens out.

With a value head on the same hidden states, their values too.

Shapes: B rows, T tokens, N response tokens of all of them laid end to end, H hidden size.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from transformers import PreTrainedModel

from rl_core.errors import MistakeError
from rl_core.models.output_head import OutputHead
from rl_core.models.tiled_logprobs import Tile

PREFIX = "causal_lm."
# Models that change their logits after the output embedding, by the configuration field that says so.
UNSUPPORTED = ("final_logit_softcapping", "logits_scaling", "logit_scale")


class TokenLogprobs(torch.nn.Module):
    """Wraps a model so that DeepSpeed sees one forward from token ids to log-probabilities."""

    def __init__(self, causal_lm: PreTrainedModel, *, tile: Tile | None = None, value_head: bool = False) -> None:
        """Args:
            causal_lm: the model.
            tile: tokens and words whose logits exist together; None takes what suits the device.
            value_head: whether there is one, at zero, on the last hidden states.

        Raises:
            MistakeError: the model changes its logits in a way that is not reproduced here.
        """
        super().__init__()
        for field in UNSUPPORTED:
            if getattr(causal_lm.config, field, None) not in (None, 1, 1.0):
                raise MistakeError(f"policy.model_name: models with `{field}` in their config cannot be trained yet")
        self.causal_lm = causal_lm
        self._head = OutputHead(causal_lm.get_output_embeddings(), tile=tile)
        self.score = new_value_head(causal_lm) if value_head else None

    def forward(
        self,
        tokens: torch.Tensor,
        response_mask: torch.Tensor,
        temperature: float,
        packed_lengths: Sequence[int] | None = None,
        *,
        values_alone: bool = False,
    ) -> tuple[torch.Tensor, ...]:
        """Log-probabilities of response tokens, and the entropy of the distribution each was drawn from.

        Args:
            tokens: [B, T] long: one sequence to a row, padded on the right, which causal attention never sees; or
                [1, T], sequences end to end.
            response_mask: [B, T] bool, True on response tokens; never on the first of a sequence.
            temperature: divides the logits.
            packed_lengths: of the sequences that lie end to end, prompt and response; None: one sequence to a row.
            values_alone: nothing is computed but the values.

        Returns:
            logprobs [N] and entropies [N], float32, in the order of response_mask.nonzero(); with a value head behind
            them the value before each of these tokens [N], float32.
        """
        packed = {} if packed_lengths is None else packed_inputs(packed_lengths, tokens.device)
        hidden = self.causal_lm.base_model(input_ids=tokens, use_cache=False, **packed).last_hidden_state
        predicting = hidden[:, :-1][response_mask[:, 1:]]  # [N, H]: the position before each response token
        values = () if self.score is None else (self.score(predicting).squeeze(-1).float(),)
        if values_alone:
            return values
        return (*self._head.logprobs(predicting, tokens[response_mask], temperature), *values)


def new_value_head(transformer: PreTrainedModel) -> torch.nn.Linear:
    """A scalar head that says zero of everything, in the transformer's dtype, on its device."""
    head = torch.nn.Linear(transformer.config.get_text_config().hidden_size, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head.to(transformer.device, transformer.dtype)


def packed_inputs(lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """What keeps the sequences of one packed row apart, for every kind of attention.

    Positions that begin again at 0 make transformers' masks (sdpa, eager) block-diagonal where it is given neither a
    mask nor a cache. Flash attention is given the bounds between sequences, so as not to look for them in each layer.
    """
    bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
    positions = torch.cat([torch.arange(length) for length in lengths]).to(device).unsqueeze(0)
    longest = max(lengths)
    return {
        "position_ids": positions,
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }
