"""The reward model under DeepSpeed: scores of pairs, and one optimizer update on the pairwise loss."""

from collections.abc import Sequence

import torch

from rl_core.config.models import AdamWConfig
from rl_core.config.training import TrainingConfig
from rl_core.models.sequence_scores import PREFIX, SequenceScores
from rl_core.preference.batching import PairBatch
from rl_core.preference.loss import centering_loss, pairwise_loss
from rl_core.training.trained_module import TrainedModule, Update
from rl_core.world import World


class RewardLearner(TrainedModule):
    """A reward model that is being trained, whole or by an adapter and its head."""

    def __init__(self, scores: SequenceScores, training: TrainingConfig, optimizer: AdamWConfig, world: World) -> None:
        super().__init__(scores, training, optimizer, world, dtype=scores.classifier.dtype, prefix=PREFIX)
        self.num_right, self.margin = 0.0, 0.0  # of the pairs that this rank computed in the last update; ties are half

    @torch.no_grad()
    def scores(self, batches: Sequence[PairBatch]) -> list[torch.Tensor]:
        """Of each batch the scores of its pairs, chosen and rejected: a list of [P, 2]. A collective call."""
        self.engine.eval()
        scores = [self._scores(batch) for batch in batches]
        self.engine.train()
        return scores

    def update(self, batches: Sequence[PairBatch], centering: float) -> Update:
        """One optimizer step on the weighted sum of the pairs' losses. A collective call; see `update_by`.

        Args:
            centering: coefficient of `centering_loss` beside the pairwise loss.
        """
        self.num_right, self.margin = 0.0, 0.0

        def batch_loss(batch: PairBatch) -> torch.Tensor:
            chosen, rejected = self._scores(batch).unbind(dim=1)
            if batch.places:
                margins = (chosen - rejected).detach()
                self.num_right += float((margins.sign() + 1).sum() / 2)
                self.margin += float(margins.sum())
            losses = pairwise_loss(chosen, rejected)
            if centering:
                losses = losses + centering * centering_loss(chosen, rejected)
            return (batch.weights * losses).sum()

        return self.update_by(batches, batch_loss)

    def _scores(self, batch: PairBatch) -> torch.Tensor:
        scores: torch.Tensor = self.engine(batch.tokens, batch.ends, batch.packed_lengths)
        return scores.view(-1, 2)
