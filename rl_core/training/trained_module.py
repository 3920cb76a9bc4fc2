"""A module under DeepSpeed: one optimizer update, and its parameters one at a time.

What the policy (`learner`), the value model (`critic`) and the reward model have in common. The same calls at every
ZeRO stage, on one rank or many. What differs between the stages in reaching a parameter or its optimizer state is in
`partitions`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import deepspeed
import torch

from rl_core.config.models import AdamWConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.lora import name_without_peft
from rl_core.models.shared_base import RoleModule
from rl_core.progress import beat
from rl_core.training.deepspeed_config import deepspeed_config
from rl_core.world import World

# DeepSpeed would compile this at every user's first start, which needs a C++ compiler and takes half a minute, to save
# a little in gloo's collectives.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Update:
    """One optimizer update."""

    loss: float  # over all ranks
    grad_norm: float  # before clipping

    @property
    def applied(self) -> bool:
        """Whether the weights moved: an update whose loss or gradient is not finite is left out."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class TrainedModule:
    """A module, the optimizer of what of it is trained, and DeepSpeed around both."""

    def __init__(
        self,
        module: torch.nn.Module,
        training: TrainingConfig,
        optimizer: AdamWConfig,
        world: World,
        *,
        dtype: torch.dtype,
        prefix: str,
    ) -> None:
        """Args:
        dtype: of the module's computation.
        prefix: what stands before all of the module's own names, and before none of those that others see.
        """
        self.world, self.zero_stage, self._prefix = world, training.zero_stage, prefix
        self.bfloat16 = dtype == torch.bfloat16
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.adamw = torch.optim.AdamW(
            trained,
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
        )
        num_trained = sum(parameter.numel() for parameter in trained)
        config = deepspeed_config(training, optimizer, num_trained=num_trained, bfloat16=self.bfloat16)
        self.engine, *_ = deepspeed.initialize(model=module, optimizer=self.adamw, config=config)
        self.engine.train()  # transformers loads models to be asked; gradient checkpointing is for training alone

    def named_parameters(self, *, trained: bool = True) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Every parameter that is trained, or every other, by its name in the model; tied ones once.

        The names are the transformer's own; those of an adapter are said in `models.lora`.
        """
        for name, parameter in self.engine.module.named_parameters():
            if parameter.requires_grad == trained:
                yield name_without_peft(name.removeprefix(self._prefix)), parameter

    def set_learning_rate(self, learning_rate: float) -> None:
        """Of the next updates."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate

    def update_by(
        self,
        batches: Sequence[Batch],
        batch_loss: Callable[[Batch], torch.Tensor],
        before_change: Callable[[], None] = lambda: None,
    ) -> Update:
        """One optimizer step on the sum of the micro-batches' losses over all ranks. A collective call.

        Where the loss or the gradient is not finite on any rank, every rank leaves the step out: weights and optimizer
        stay as they were.

        Args:
            batches: this rank's, as many as on every other rank.
            batch_loss: a scalar with gradient, already divided by the global denominator.
            before_change: called when the gradient is there and the weights are still the old ones; what it raises
                leaves the module and the optimizer as they were.
        """
        total = 0.0
        for position, batch in enumerate(batches, start=1):
            beat()
            self.engine.set_gradient_accumulation_boundary(position == len(batches))
            with self._active():
                loss = batch_loss(batch)
                value = float(loss.detach())
                total += value
                # DeepSpeed averages gradients over ranks; ours are parts of a sum. A loss that is not finite makes a
                # gradient that is not, which is what DeepSpeed looks at.
                self.engine.backward(loss * (self.world.size if math.isfinite(value) else math.nan))
        (total,) = self.world.sum([total])
        before_change()
        return Update(total, self._step())

    def _active(self) -> AbstractContextManager[None]:
        """Around forward and backward pass: with checkpointing the second computes what the first did."""
        module = self.engine.module
        return module.active() if isinstance(module, RoleModule) else nullcontext()

    def _step(self) -> float:
        """Apply the gradient, if it is finite; its norm before clipping."""
        if self.zero_stage > 0:
            self.engine.step()
            return float(self.engine.get_global_grad_norm())
        # Without ZeRO DeepSpeed neither reports the norm that it clips to nor looks whether it is finite.
        gradients = [parameter.grad for parameter in self.engine.module.parameters() if parameter.grad is not None]
        grad_norm = float(torch.nn.utils.get_total_norm(gradients))
        if math.isfinite(grad_norm):
            self.engine.step()
        else:
            self.engine.zero_grad()
        return grad_norm
