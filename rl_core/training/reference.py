"""The reference policy: the stage's first policy, frozen, for the divergence in the loss."""

from collections.abc import Sequence
from typing import Protocol

import deepspeed
import torch
from transformers import PreTrainedModel

from rl_core.config.training import TrainingConfig
from rl_core.models.lora import only_adapter
from rl_core.models.shared_base import SharedBase
from rl_core.models.token_logprobs import TokenLogprobs
from rl_core.training.batching import MicroBatch
from rl_core.training.learner import Learner
from rl_core.world import World


class ReferencePolicy(Protocol):
    """Answers with log-probabilities only."""

    def logprobs(self, batches: Sequence[MicroBatch], temperature: float) -> list[torch.Tensor]:
        """Log-probabilities of each micro-batch's response tokens: a list of [N]. A collective call."""
        ...


class FrozenCopy:
    """A model of its own. Its parameters are split over ranks where the policy's are (ZeRO-3)."""

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
        """Of the copy; see `ReferencePolicy`."""
        return [
            self._forward(batch.tokens, batch.response_mask, temperature, batch.packed_lengths)[0] for batch in batches
        ]


class AdapterOff:
    """The policy itself without its adapter, which is all that a stage trains: no second model is held."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def logprobs(self, batches: Sequence[MicroBatch], temperature: float) -> list[torch.Tensor]:
        """Of the model below the adapter; see `ReferencePolicy`."""
        with only_adapter(self._learner.causal_lm, None):
            return self._learner.logprobs(batches, temperature)[0]


class FrozenAdapter:
    """The adapter that the stage began with, on the policy's own base; where it began with none, that base."""

    def __init__(self, base: SharedBase, learner: Learner) -> None:
        self._base, self._forward = base, learner.engine.module.computes

    def logprobs(self, batches: Sequence[MicroBatch], temperature: float) -> list[torch.Tensor]:
        """Of the base with that adapter; see `ReferencePolicy`."""
        with self._base.answering("reference" if self._base.has("reference") else None):
            return [
                self._forward(batch.tokens, batch.response_mask, temperature, batch.packed_lengths)[0]
                for batch in batches
            ]
