"""The mathematics of one step: from scored rollouts to optimizer updates. Knows no files and no engine.

A response whose advantage is zero has no gradient when nothing but the surrogate is in the loss; it is then neither
computed forward nor backward. It still counts in every denominator and in the number of updates.

The first update of a step is computed at the very weights that sampled: there the old policy's log-probabilities are
the policy's own (to the bit in a model without dropout), and no pass is made for them, unless rewards wait for them.
The updates behind it need one, before the weights change.

With `algorithm.old_logprobs: sampler` no update has such a pass: the ratio is taken against the log-probabilities that
the sampler gave with its tokens (PPO with the policy that acted as the old one). That is the same to rounding where
sampler and trainer compute alike, as they do in float32 on a CPU with either engine; elsewhere the surrogate also clips
what they disagree about. The disagreement is then known for the first update's tokens alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from rl_core.algorithms.objectives import epoch_weights
from rl_core.config import AlgorithmConfig
from rl_core.config.training import GuardConfig
from rl_core.training.batching import MicroBatch, Sample, micro_batches
from rl_core.training.credit import (
    Updates,
    diverges_in_reward,
    give_token_advantages,
    give_value_weights,
    is_by_token,
)
from rl_core.training.critic import Critic, HiddenStatesCritic
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.guard import NonfiniteGuard
from rl_core.training.learner import Learner
from rl_core.training.loss import critic_loss, micro_batch_loss
from rl_core.training.reference import ReferencePolicy
from rl_core.training.samples import weighted
from rl_core.training.trained_module import Update


@dataclass(frozen=True, slots=True)
class Trained:
    """What the updates of one step came to, of the policy or of the critic."""

    loss: float | None = None  # mean over the updates that were applied; None where none was
    grad_norm: float | None = None  # likewise, before clipping
    num_left_out: int = 0  # updates whose loss or gradient was not finite

    @classmethod
    def by(cls, updates: Sequence[Update]) -> Self:
        applied = [update for update in updates if update.applied]
        left_out = len(updates) - len(applied)
        if not applied:
            return cls(num_left_out=left_out)
        loss, grad_norm = (
            sum(values) / len(applied) for values in zip(*((u.loss, u.grad_norm) for u in applied), strict=True)
        )
        return cls(loss, grad_norm, left_out)


class StepTrainer:
    """Trains one policy with one algorithm, and its critic where the algorithm has one."""

    def __init__(
        self,
        learner: Learner,
        reference: ReferencePolicy | None,
        algorithm: AlgorithmConfig,
        *,
        num_samples: int,
        temperature: float,
        layout: Layout,
        normalizer_tokens: int | None = None,
        critic: Critic | HiddenStatesCritic | None = None,
        value_clip: float | None = None,
        value_coefficient: float = 0.0,
        guard: GuardConfig = GuardConfig(),  # noqa: B008 - frozen
    ) -> None:
        """Args:
        num_samples: responses to each prompt (G), side by side.
        normalizer_tokens: of the aggregation with a constant normaliser.
        value_coefficient: of the value loss in the policy's, where the critic is a head on the policy's hidden states.
        """
        self._learner, self._reference, self._algorithm = learner, reference, algorithm
        self._num_samples, self._temperature, self._layout = num_samples, temperature, layout
        self._normalizer_tokens = normalizer_tokens
        self._critic, self._value_clip, self._value_coefficient = critic, value_clip, value_coefficient
        self._value_losses: list[float] = []  # this rank's part, of each update of both at once
        self.kl_coefficient = algorithm.kl_coefficient  # as it stands, where it adapts
        bound = guard.max_nonfinite_updates
        self.nonfinite = {name: NonfiniteGuard(name, bound, by_rewards=True) for name in ("policy", "critic")}

    def updates(self, samples: Sequence[Sample]) -> Updates:
        """This rank's micro-batches of each optimizer update of one pass over the batch."""
        size = self._algorithm.minibatch_sequences
        return [self._micro_batches(samples[start : start + size]) for start in range(0, len(samples), size)]

    def prepared(self, samples: Sequence[Sample], figures: Figures) -> Updates:
        """The micro-batches with everything that does not change during the step. A collective call.

        The old log-probabilities of the first update are left out where nothing waits for them: `train_policy` takes
        them from its forward pass.
        """
        updates = [self._with_reference(update) for update in self.updates(samples)]
        at_once = 0 if diverges_in_reward(self._algorithm) else 1
        updates = [*updates[:at_once], *(self._with_old(update, figures) for update in updates[at_once:])]
        if self._critic is not None:
            updates = [self._with_values(update) for update in updates]
        if not is_by_token(self._algorithm):
            return updates
        return give_token_advantages(
            updates,
            self._algorithm,
            kl_coefficient=self.kl_coefficient,
            num_samples=self._num_samples,
            num_responses=len(samples),
            world=self._learner.world,
            figures=figures,
        )

    def train_policy(
        self, updates: Updates, figures: Figures, before_first_change: Callable[[], None] = lambda: None
    ) -> Trained:
        """Every optimizer update of the policy in the step.

        Args:
            before_first_change: called when sampler and policy have been compared on all tokens that are compared, and
                the policy is still the one that sampled.

        Raises:
            GuardStop: more updates in a row than the recipe allows had a loss or gradient that is not finite.
        """
        first, *later = updates
        seen: list[MicroBatch] = []

        def token_loss(
            batch: MicroBatch, logprobs: torch.Tensor, entropies: torch.Tensor, *values: torch.Tensor
        ) -> torch.Tensor:
            loss = micro_batch_loss(
                batch, logprobs, entropies, self._algorithm, figures, kl_coefficient=self.kl_coefficient
            )
            return loss + sum(self._value_part(batch, of_tokens, figures) for of_tokens in values)

        def first_loss(
            batch: MicroBatch, logprobs: torch.Tensor, entropies: torch.Tensor, *values: torch.Tensor
        ) -> torch.Tensor:
            measured = batch.old_logprobs is not None and self._algorithm.old_logprobs == "recompute"
            seen.append(batch if measured else self._measured(batch, logprobs.detach(), entropies.detach(), figures))
            return token_loss(seen[-1], logprobs, entropies, *values)

        self._value_losses = [0.0]
        done = [self._learner.update(first, self._temperature, first_loss, before_first_change)]
        self.nonfinite["policy"].see(done[-1])
        for batches in self._later_updates([seen, *later]):
            self._value_losses.append(0.0)
            done.append(self._learner.update(batches, self._temperature, token_loss))
            self.nonfinite["policy"].see(done[-1])
        return Trained.by(done)

    def _value_part(self, batch: MicroBatch, values: torch.Tensor, figures: Figures) -> torch.Tensor:
        """What a head on the policy's hidden states adds to the policy's loss; its gradient moves the policy too.

        Source: TRL 0.11's PPOTrainer, loss = policy + vf_coef * value, as in Schulman et al. 2017, arXiv 1707.06347,
        equation 9 without the entropy.
        """
        loss = critic_loss(batch, values, self._value_clip, figures)
        self._value_losses[-1] += float(loss.detach())
        return self._value_coefficient * loss

    def train_critic(self, updates: Updates, figures: Figures) -> Trained:
        """Every optimizer update of the critic in the step; raises as `train_policy` does.

        A critic that is updated with the policy has none of its own: its loss is told, of the updates that were.
        """
        assert self._critic is not None
        if isinstance(self._critic, HiddenStatesCritic):
            losses = [loss for loss in self._critic.world.sum(self._value_losses) if math.isfinite(loss)]
            return Trained(sum(losses) / len(losses) if losses else None)

        def value_loss(batch: MicroBatch, values: torch.Tensor) -> torch.Tensor:
            return critic_loss(batch, values, self._value_clip, figures)

        done = []
        for batches in updates * self._algorithm.epochs:
            done.append(self._critic.update(batches, value_loss))
            self.nonfinite["critic"].see(done[-1])
        return Trained.by(done)

    def _later_updates(self, updates: Updates) -> Iterator[list[MicroBatch]]:
        """What follows the first update: the rest of the first pass, and the passes behind it."""
        yield from updates[1:]
        for _ in range(self._algorithm.epochs - 1):
            yield from self._weighted_by_epoch(updates) if self._algorithm.objective == "cpgd" else updates

    def _weighted_by_epoch(self, updates: Updates) -> Updates:
        """CPGD's later passes: each token's advantage by how far the policy has moved when the pass begins."""
        bounds = {"clip_low": self._algorithm.clip_low, "clip_high": self._algorithm.clip_high}

        def of_update(batches: list[MicroBatch]) -> list[MicroBatch]:
            moved = []
            for batch, now in zip(batches, self._learner.logprobs(batches, self._temperature)[0], strict=True):
                assert batch.old_logprobs is not None
                weights = epoch_weights(now, batch.old_logprobs, **bounds)
                moved.append(replace(batch, advantages=batch.advantages * weights))
            return moved

        return [of_update(batches) for batches in updates]

    def _with_reference(self, batches: list[MicroBatch]) -> list[MicroBatch]:
        if self._reference is None:
            return batches
        ref = self._reference.logprobs(batches, self._temperature)
        return [replace(batch, ref_logprobs=logprobs) for batch, logprobs in zip(batches, ref, strict=True)]

    def _with_old(self, batches: list[MicroBatch], figures: Figures) -> list[MicroBatch]:
        if self._algorithm.old_logprobs == "sampler":
            return [replace(batch, old_logprobs=batch.sampler_logprobs) for batch in batches]
        old, entropies = self._learner.logprobs(batches, self._temperature)
        return [self._measured(*of_batch, figures) for of_batch in zip(batches, old, entropies, strict=True)]

    def _with_values(self, batches: list[MicroBatch]) -> list[MicroBatch]:
        assert self._critic is not None
        values = self._critic.values(batches)
        valued = [replace(batch, old_values=value) for batch, value in zip(batches, values, strict=True)]
        return give_value_weights(valued, self._critic.world)

    def _measured(
        self, batch: MicroBatch, logprobs: torch.Tensor, entropies: torch.Tensor, figures: Figures
    ) -> MicroBatch:
        """The micro-batch with its old log-probabilities, where the policy's own of the weights that sampled are known.

        Counts what the sampler and the policy make of the same tokens under the same weights.
        """
        # In float32 the estimate of a small divergence would be rounding, of either sign.
        difference, mask = (logprobs - batch.sampler_logprobs).double(), batch.weights > 0
        error = difference.abs().exp()
        figures.count("sampler_logprob_error_mean", error, mask)
        figures.count_maximum("sampler_logprob_error_max", error, mask)
        figures.count("sampler_kl", difference.expm1() - difference, mask)
        figures.count("entropy_mean", entropies, mask)
        recompute = self._algorithm.old_logprobs == "recompute"
        return replace(batch, old_logprobs=logprobs if recompute else batch.sampler_logprobs)

    def _micro_batches(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        own = weighted(samples, self._algorithm, normalizer_tokens=self._normalizer_tokens)
        # An update without any gradient still moves AdamW by its momentum, so it is made, of one weightless sample.
        chosen = [sample for sample in own if self._is_computed(sample)] or [replace(own[0], weight=0.0)]
        world = self._learner.world
        return micro_batches(chosen, self._layout, rank=world.rank, num_ranks=world.size, device=world.device)

    def _is_computed(self, sample: Sample) -> bool:
        algorithm = self._algorithm
        if is_by_token(algorithm):  # what it weighs nothing with, it may still be compared with
            return True
        more_than_surrogate = algorithm.needs_reference or algorithm.entropy_coefficient or algorithm.drift_coefficient
        return sample.trained and bool(sample.advantage != 0 or more_than_surrogate)
