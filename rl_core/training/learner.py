"""The policy under DeepSpeed: log-probabilities, one optimizer update, and its weights for the sampler."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import deepspeed
import torch
from transformers import PreTrainedModel

from rl_core.config.models import AdamWConfig, LoraConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.lora import add_adapter, with_scale
from rl_core.models.token_logprobs import PREFIX, TokenLogprobs
from rl_core.rollout.fingerprint import Fingerprints, tensor_fingerprint
from rl_core.training.batching import MicroBatch
from rl_core.training.trained_module import TrainedModule, Update
from rl_core.world import World

TokenLoss = Callable[[MicroBatch, torch.Tensor, torch.Tensor], torch.Tensor]


class Learner(TrainedModule):
    """A policy that is being trained, whole or by an adapter that is put on it."""

    def __init__(
        self,
        causal_lm: PreTrainedModel,
        training: TrainingConfig,
        optimizer: AdamWConfig,
        world: World,
        *,
        lora: LoraConfig | None = None,
    ) -> None:
        if lora is not None:
            add_adapter(causal_lm, lora)
        self.lora = lora
        super().__init__(TokenLogprobs(causal_lm), training, optimizer, world, dtype=causal_lm.dtype, prefix=PREFIX)

    @property
    def causal_lm(self) -> PreTrainedModel:
        model: PreTrainedModel = self.engine.module.causal_lm
        return model

    def weights(self, *, trained: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
        """The parameters that are trained, or every other: whole, in the dtype of the computation, one at a time.

        A collective call. An adapter has its scale in it: see `models.lora.with_scale`.
        """
        for name, parameter in self.named_parameters(trained=trained):
            with deepspeed.zero.GatheredParameters([parameter], enabled=self.zero_stage == 3):
                weight = parameter.detach()
                yield name, weight if self.lora is None else with_scale(name, weight, self.lora)

    @cached_property
    def frozen_fingerprints(self) -> Fingerprints:
        """Of the weights that are not trained. A collective call, the first time."""
        return {name: tensor_fingerprint(weight) for name, weight in self.weights(trained=False)}

    @torch.no_grad()
    def logprobs(
        self, batches: Sequence[MicroBatch], temperature: float
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Log-probabilities and entropies of each micro-batch's response tokens: lists of [N]. A collective call."""
        self.engine.eval()
        results = [
            self.engine(batch.tokens, batch.response_mask, temperature, batch.packed_lengths) for batch in batches
        ]
        self.engine.train()
        return [logprobs for logprobs, _ in results], [entropies for _, entropies in results]

    def update(
        self,
        batches: Sequence[MicroBatch],
        temperature: float,
        token_loss: TokenLoss,
        before_change: Callable[[], None] = lambda: None,
    ) -> Update:
        """One optimizer step; see `TrainedModule.update_by`. A collective call.

        Args:
            token_loss: (batch, logprobs [N], entropies [N]) -> scalar, already divided by the global denominator.
        """

        def batch_loss(batch: MicroBatch) -> torch.Tensor:
            logprobs, entropies = self.engine(batch.tokens, batch.response_mask, temperature, batch.packed_lengths)
            return token_loss(batch, logprobs, entropies)

        return self.update_by(batches, batch_loss, before_change)
