"""Whether micro-batches are packed or in buckets: what was asked for, or what suits the model and its attention."""

import inspect

import torch
from transformers import PreTrainedModel

from rl_core.config.training import TrainingConfig
from rl_core.errors import MistakeError
from rl_core.models.load import attention_of
from rl_core.models.token_logprobs import packed_inputs
from rl_core.training.grouping import Layout

# A transformer layer of hidden size h has some 12 h^2 weights, two operations each and token; causal attention over L
# tokens takes 2 h L operations for each. They are even at L = 12 h (18,432 tokens for a hidden size of 1536).
WEIGHTS_OF_A_LAYER = 12


def choose_layout(training: TrainingConfig, causal_lm: PreTrainedModel) -> Layout:
    """The layout of a model's micro-batches. A collective call under ZeRO-3.

    auto packs where attention is flash's, whose kernels for sequences of many lengths skip everything between two of
    them. Elsewhere a packed row needs a mask of its length squared, and buckets are faster at any length.

    Raises:
        MistakeError: packing was asked for, and the model would let a sequence see the one before it.
    """
    attention = attention_of(causal_lm)
    packed = training.packing == "packed" or (training.packing == "auto" and attention.startswith("flash_attention"))
    if packed and not _keeps_sequences_apart(causal_lm):
        if training.packing == "packed":
            raise MistakeError(
                f"training.packing is 'packed': a {type(causal_lm).__name__} with {attention} attention lets a "
                "sequence see the one before it in its row: 'bucketed' works with every model"
            )
        packed = False
    hidden_size = causal_lm.config.get_text_config().hidden_size
    return Layout(training.micro_batch_tokens, packed=packed, attention_tokens=WEIGHTS_OF_A_LAYER * hidden_size)


@torch.no_grad()
def _keeps_sequences_apart(causal_lm: PreTrainedModel) -> bool:
    """Whether what stands before a sequence in a packed row leaves its states as they are, to the bit."""
    model = causal_lm.base_model
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    training = causal_lm.training
    causal_lm.eval()
    first, other, second = [1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [1, 3, 2]
    inputs = packed_inputs((len(first), len(second)), causal_lm.device)
    after_first, after_other = (
        model(
            input_ids=torch.tensor([before + second], device=causal_lm.device), use_cache=False, **inputs
        ).last_hidden_state[0, len(before) :]
        for before in (first, other)
    )
    causal_lm.train(training)
    return torch.equal(after_first, after_other)
