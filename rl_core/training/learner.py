"""The policy under DeepSpeed: log-probabilities, one optimizer update, and its weights for the sampler."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import deepspeed
import torch
from transformers import PreTrainedModel

from rl_core.config.models import AdamWConfig, LoraConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.lora import add_adapter, with_scale
from rl_core.models.shared_base import PREFIX as SHARED_PREFIX
from rl_core.models.shared_base import SharedBase
from rl_core.models.token_logprobs import PREFIX, TokenLogprobs
from rl_core.rollout.fingerprint import Fingerprints, tensor_fingerprint
from rl_core.training.batching import MicroBatch
from rl_core.training.trained_module import TrainedModule, Update
from rl_core.world import World

TokenLoss = Callable[..., torch.Tensor]  # see `Learner.update`
HEAD = "score."  # before the names of a value head on the policy's hidden states


class Learner(TrainedModule):
    """A policy that is being trained, whole or by an adapter that is put on it; with it a value head, where it has one.

    Whoever asks for the policy's weights is not given the head, which `critic.HiddenStatesCritic` answers for.
    """

    def __init__(
        self,
        causal_lm: PreTrainedModel,
        training: TrainingConfig,
        optimizer: AdamWConfig,
        world: World,
        *,
        lora: LoraConfig | None = None,
        lora_field: str = "policy.lora",
        base: SharedBase | None = None,
        value_head: bool = False,
    ) -> None:
        """Args:
        lora_field: of the configuration that holds `lora`, for messages.
        base: the model below adapters, of which the policy's is trained, where several lie on it; `lora` is then that
            adapter's settings, and `causal_lm` the base's.
        """
        if lora is not None and base is None:
            add_adapter(causal_lm, lora, field=f"{lora_field}.target_modules")
        self.lora, self.base, self.causal_lm = lora, base, causal_lm
        logprobs = TokenLogprobs(causal_lm, value_head=value_head)
        module: torch.nn.Module = logprobs
        if base is not None:
            heads = {HEAD.removesuffix("."): logprobs.score} if logprobs.score is not None else {}
            module = base.module("policy", logprobs, **heads)
        prefix = PREFIX if base is None else SHARED_PREFIX
        super().__init__(module, training, optimizer, world, dtype=causal_lm.dtype, prefix=prefix)

    def named_parameters(self, *, trained: bool = True) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """The policy's own; see `TrainedModule.named_parameters`."""
        if self.base is not None and not trained:
            yield from self.base.frozen()
            return
        named = super().named_parameters(trained=trained)
        yield from ((name, parameter) for name, parameter in named if not name.startswith(HEAD))

    def head_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Of the value head on the policy's hidden states."""
        named = super().named_parameters()
        yield from ((name, parameter) for name, parameter in named if name.startswith(HEAD))

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
        return [result[0] for result in results], [result[1] for result in results]

    @torch.no_grad()
    def values(self, batches: Sequence[MicroBatch]) -> list[torch.Tensor]:
        """Of the head on the policy's hidden states, for each micro-batch: a list of [N]. A collective call."""
        self.engine.eval()
        values = [
            self.engine(batch.tokens, batch.response_mask, 1.0, batch.packed_lengths, values_alone=True)[0]
            for batch in batches
        ]
        self.engine.train()
        return values

    def update(
        self,
        batches: Sequence[MicroBatch],
        temperature: float,
        token_loss: TokenLoss,
        before_change: Callable[[], None] = lambda: None,
    ) -> Update:
        """One optimizer step; see `TrainedModule.update_by`. A collective call.

        Args:
            token_loss: (batch, logprobs [N], entropies [N]) -> scalar, already divided by the global denominator; with
                a value head it is given values [N] as well.
        """

        def batch_loss(batch: MicroBatch) -> torch.Tensor:
            answers = self.engine(batch.tokens, batch.response_mask, temperature, batch.packed_lengths)
            return token_loss(batch, *answers)

        return self.update_by(batches, batch_loss, before_change)
