"""The reference policy: the stage's first policy, frozen, for the divergence in the loss."""

from collections.abc import Sequence

import deepspeed
import torch
from transformers import PreTrainedModel

from rl_core.config.sections import TrainingConfig
from rl_core.models.token_logprobs import TokenLogprobs
from rl_core.training.batching import MicroBatch
from rl_core.world import World


class ReferencePolicy:
    """Answers with log-probabilities only. Its parameters are split over ranks where the policy's are (ZeRO-3)."""

    def __init__(self, causal_lm: PreTrainedModel, training: TrainingConfig, world: World) -> None:
        module = TokenLogprobs(causal_lm).requires_grad_(False).eval()
        if training.zero_stage == 3 and world.size > 1:
            config = {
                "train_micro_batch_size_per_gpu": 1,
                "bf16": {"enabled": causal_lm.dtype == torch.bfloat16},
                "zero_optimization": {"stage": 3},
            }
            self._forward, *_ = deepspeed.initialize(model=module, config=config)
            self._forward.eval()
        else:
            self._forward = module.to(world.device)

    @torch.no_grad()
    def logprobs(self, batches: Sequence[MicroBatch], temperature: float) -> list[torch.Tensor]:
        """Log-probabilities of each micro-batch's response tokens: a list of [N]. A collective call under ZeRO-3."""
        return [
            self._forward(batch.tokens, batch.response_mask, temperature, batch.packed_lengths)[0] for batch in batches
        ]
