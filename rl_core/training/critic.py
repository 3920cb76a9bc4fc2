"""The value model of PPO under DeepSpeed: values of response tokens, and one optimizer update."""

from collections.abc import Callable, Sequence

import torch

from rl_core.config.models import CriticConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.token_values import PREFIX, TokenValues
from rl_core.training.batching import MicroBatch
from rl_core.training.trained_module import TrainedModule, Update
from rl_core.world import World

ValueLoss = Callable[[MicroBatch, torch.Tensor], torch.Tensor]


class Critic(TrainedModule):
    """A value model that is being trained, whole or by an adapter and its head."""

    def __init__(self, values: TokenValues, training: TrainingConfig, config: CriticConfig, world: World) -> None:
        super().__init__(values, training, config.optimizer, world, dtype=values.token_classifier.dtype, prefix=PREFIX)

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
