"""The value model of PPO under DeepSpeed: values of response tokens, and one optimizer update."""

from collections.abc import Callable, Iterator, Sequence

import torch

from rl_core.config.models import CriticConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.shared_base import PREFIX as SHARED_PREFIX
from rl_core.models.shared_base import SharedBase
from rl_core.models.token_values import PREFIX, TokenValues
from rl_core.training.batching import MicroBatch
from rl_core.training.learner import Learner
from rl_core.training.trained_module import TrainedModule, Update
from rl_core.world import World

ValueLoss = Callable[[MicroBatch, torch.Tensor], torch.Tensor]


class Critic(TrainedModule):
    """A value model that is being trained, whole or by an adapter and its head."""

    def __init__(
        self,
        values: TokenValues,
        training: TrainingConfig,
        config: CriticConfig,
        world: World,
        *,
        base: SharedBase | None = None,
    ) -> None:
        """Args:
        base: the model below adapters, where `values` is over it; the value adapter and the head are then trained.
        """
        module: torch.nn.Module = values
        if base is not None:
            module = base.module("value", values, score=values.token_classifier.score)
        prefix = PREFIX if base is None else SHARED_PREFIX
        super().__init__(module, training, config.optimizer, world, dtype=values.token_classifier.dtype, prefix=prefix)

    @torch.no_grad()
    def values(self, batches: Sequence[MicroBatch]) -> list[torch.Tensor]:
        """The value before each response token of each micro-batch: a list of [N]. A collective call."""
        self.engine.eval()
        values = [self.engine(batch.tokens, batch.response_mask, batch.packed_lengths) for batch in batches]
        self.engine.train()
        return values

    def update(self, batches: Sequence[MicroBatch], value_loss: ValueLoss) -> Update:
        """One optimizer step; see `TrainedModule.update_by`. A collective call.

        Args:
            value_loss: (batch, values [N]) -> scalar, already divided by the global denominator.
        """

        def batch_loss(batch: MicroBatch) -> torch.Tensor:
            return value_loss(batch, self.engine(batch.tokens, batch.response_mask, batch.packed_lengths))

        return self.update_by(batches, batch_loss)


class HiddenStatesCritic(TrainedModule):
    """A value head on the policy's hidden states: the policy's forward pass gives the values, and its update trains it.

    The part of the learner that a checkpoint keeps as the critic.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.world, self.zero_stage, self.bfloat16 = learner.world, learner.zero_stage, learner.bfloat16
        self.adamw, self.engine = learner.adamw, learner.engine

    def named_parameters(self, *, trained: bool = True) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Those of the head."""
        yield from self._learner.head_parameters() if trained else ()

    def values(self, batches: Sequence[MicroBatch]) -> list[torch.Tensor]:
        """As `Critic.values`."""
        return self._learner.values(batches)
