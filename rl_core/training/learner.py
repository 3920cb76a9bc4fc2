"""The policy under DeepSpeed: log-probabilities, one optimizer update, and its parameters one at a time.

The same calls at every ZeRO stage, on one rank or many. What differs between the stages in reaching a parameter or its
optimizer state is in `partitions`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import deepspeed
import torch
from transformers import PreTrainedModel

from rl_core.config import OptimizerConfig
from rl_core.config.sections import LoraConfig, TrainingConfig
from rl_core.errors import GuardStop
from rl_core.models.lora import add_adapter, name_without_peft, with_scale
from rl_core.models.token_logprobs import TokenLogprobs, parameter_name
from rl_core.rollout.fingerprint import Fingerprints, tensor_fingerprint
from rl_core.training.batching import MicroBatch
from rl_core.training.deepspeed_config import deepspeed_config
from rl_core.world import World

# DeepSpeed would compile this at every user's first start, which needs a C++ compiler and takes half a minute, to save
# a little in gloo's collectives.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

TokenLoss = Callable[[MicroBatch, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Update:
    """One optimizer update."""

    loss: float  # over all ranks
    grad_norm: float  # before clipping


class Learner:
    """A policy that is being trained, whole or by an adapter that is put on it."""

    def __init__(
        self,
        causal_lm: PreTrainedModel,
        training: TrainingConfig,
        optimizer: OptimizerConfig,
        world: World,
        *,
        lora: LoraConfig | None = None,
    ) -> None:
        if lora is not None:
            add_adapter(causal_lm, lora)
        self.world, self.lora = world, lora
        self.zero_stage = training.zero_stage
        self.bfloat16 = causal_lm.dtype == torch.bfloat16
        module = TokenLogprobs(causal_lm)
        self.adamw = torch.optim.AdamW(
            [parameter for parameter in module.parameters() if parameter.requires_grad],
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
        )
        self.engine, *_ = deepspeed.initialize(
            model=module, optimizer=self.adamw, config=deepspeed_config(training, optimizer, bfloat16=self.bfloat16)
        )

    @property
    def causal_lm(self) -> PreTrainedModel:
        model: PreTrainedModel = self.engine.module.causal_lm
        return model

    def named_parameters(self, *, trained: bool = True) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Every parameter that is trained, or every other, by its name in the policy; tied ones once.

        The names are the causal language model's own; those of an adapter are said in `models.lora`.
        """
        for name, parameter in self.engine.module.named_parameters():
            if parameter.requires_grad == trained:
                yield name_without_peft(parameter_name(name)), parameter

    def weights(self, *, trained: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
        """The same parameters whole, in the dtype of the computation, one at a time. A collective call.

        An adapter has its scale in it: see `models.lora.with_scale`.
        """
        for name, parameter in self.named_parameters(trained=trained):
            with deepspeed.zero.GatheredParameters([parameter], enabled=self.zero_stage == 3):
                weight = parameter.detach()
                yield name, weight if self.lora is None else with_scale(name, weight, self.lora)

    @cached_property
    def frozen_fingerprints(self) -> Fingerprints:
        """Of the weights that are not trained. A collective call, the first time."""
        return {name: tensor_fingerprint(weight) for name, weight in self.weights(trained=False)}

    def set_learning_rate(self, learning_rate: float) -> None:
        """Of the next updates."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate

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
        """One optimizer step on the sum of the micro-batches' losses over all ranks. A collective call.

        Args:
            batches: this rank's, as many as on every other rank.
            token_loss: (batch, logprobs [N], entropies [N]) -> scalar, already divided by the global denominator.
            before_change: called when the gradient is there and the weights are still the old ones; what it raises
                leaves the policy and the optimizer as they were.

        Raises:
            GuardStop: the loss or the gradient is not finite; nothing is saved from such a state.
        """
        loss = 0.0
        for position, batch in enumerate(batches, start=1):
            self.engine.set_gradient_accumulation_boundary(position == len(batches))
            logprobs, entropies = self.engine(batch.tokens, batch.response_mask, temperature, batch.packed_lengths)
            batch_loss = token_loss(batch, logprobs, entropies)
            loss += float(batch_loss.detach())
            # DeepSpeed averages gradients over ranks; ours are parts of a sum.
            self.engine.backward(batch_loss * self.world.size)
        (loss,) = self.world.sum([loss])
        before_change()
        grad_norm = self._grad_norm_before_step()
        self.engine.step()
        grad_norm = float(self.engine.get_global_grad_norm()) if grad_norm is None else grad_norm
        for name, value in (("loss", loss), ("gradient norm", grad_norm)):
            if not torch.tensor(value).isfinite():
                raise GuardStop(f"the {name} is {value}: the run stops at its last checkpoint")
        return Update(loss, grad_norm)

    def _grad_norm_before_step(self) -> float | None:
        """DeepSpeed without ZeRO does not report the norm it clips to; elsewhere None."""
        if self.zero_stage > 0:
            return None
        gradients = [parameter.grad for parameter in self.engine.module.parameters() if parameter.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))
