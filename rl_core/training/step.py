"""The mathematics of one step: from scored rollouts to optimizer updates. Knows no files and no engine.

A response whose advantage is zero has no gradient when nothing but the surrogate is in the loss; it is then neither
computed forward nor backward. It still counts in every denominator and in the number of updates.

The first update of a step is computed at the very weights that sampled: there the old policy's log-probabilities are
the policy's own (to the bit in a model without dropout), and no pass is made for them. The updates behind it need one,
before the weights change.

With `algorithm.old_logprobs: sampler` no update has such a pass: the ratio is taken against the log-probabilities that
the sampler gave with its tokens (PPO with the policy that acted as the old one). That is the same to rounding where
sampler and trainer compute alike, as they do in float32 on a CPU with either engine; elsewhere the surrogate also clips
what they disagree about. The disagreement is then known for the first update's tokens alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from rl_core.algorithms.advantages import group_relative
from rl_core.algorithms.aggregation import token_weights
from rl_core.config import AlgorithmConfig
from rl_core.rollout.collect import Rollout
from rl_core.training.batching import MicroBatch, Sample, micro_batches
from rl_core.training.figures import Figures
from rl_core.training.grouping import Layout
from rl_core.training.learner import Learner
from rl_core.training.loss import micro_batch_loss
from rl_core.training.reference import ReferencePolicy


class StepTrainer:
    """Trains one policy with one algorithm."""

    def __init__(
        self,
        learner: Learner,
        reference: ReferencePolicy | None,
        algorithm: AlgorithmConfig,
        *,
        temperature: float,
        layout: Layout,
    ) -> None:
        self._learner, self._reference, self._algorithm = learner, reference, algorithm
        self._temperature, self._layout = temperature, layout

    def samples(self, rollouts: Sequence[Rollout], num_samples: int) -> tuple[list[Sample], float]:
        """Rollouts with their advantages, and the share of groups that have none."""
        rewards = torch.tensor([float("nan") if r.score.reward is None else r.score.reward for r in rollouts])
        groups = rewards.double().reshape(-1, num_samples)
        assert self._algorithm.baseline != "critic", "a value model's advantages are not of a group"
        advantages = group_relative(groups, self._algorithm.baseline, self._algorithm.scale)
        flat = advantages.float().flatten().tolist()
        samples = [
            Sample(rollout.problem.prompt_ids, rollout.completion.token_ids, rollout.completion.logprobs, advantage)
            for rollout, advantage in zip(rollouts, flat, strict=True)
        ]
        return samples, float((advantages == 0).all(-1).double().mean())

    def updates(self, samples: Sequence[Sample]) -> list[list[MicroBatch]]:
        """This rank's micro-batches of each optimizer update of one pass over the batch."""
        size = self._algorithm.minibatch_sequences
        return [self._micro_batches(samples[start : start + size]) for start in range(0, len(samples), size)]

    def with_fixed_logprobs(self, updates: list[list[MicroBatch]], figures: Figures) -> list[list[MicroBatch]]:
        """The micro-batches with the log-probabilities that do not change during the step: reference and old.

        The old ones of the first update are left out: `train` takes them from its forward pass.
        """
        first, *later = [self._with_reference(update) for update in updates]
        return [first, *(self._with_old(update, figures) for update in later)]

    def train(
        self, updates: list[list[MicroBatch]], figures: Figures, before_first_change: Callable[[], None] = lambda: None
    ) -> tuple[float, float]:
        """Every optimizer update of the step; the mean loss and mean gradient norm over them.

        Args:
            before_first_change: called when sampler and policy have been compared on all tokens that are compared, and
                the policy is still the one that sampled.
        """
        first, *later = updates
        seen: list[MicroBatch] = []

        def token_loss(batch: MicroBatch, logprobs: torch.Tensor, entropies: torch.Tensor) -> torch.Tensor:
            return micro_batch_loss(batch, logprobs, entropies, self._algorithm, figures)

        def first_loss(batch: MicroBatch, logprobs: torch.Tensor, entropies: torch.Tensor) -> torch.Tensor:
            seen.append(self._measured(batch, logprobs.detach(), entropies.detach(), figures))
            return token_loss(seen[-1], logprobs, entropies)

        done = [self._learner.update(first, self._temperature, first_loss, before_first_change)]
        remaining = [*later, *[seen, *later] * (self._algorithm.epochs - 1)]
        done += [self._learner.update(batches, self._temperature, token_loss) for batches in remaining]
        return sum(u.loss for u in done) / len(done), sum(u.grad_norm for u in done) / len(done)

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
        lengths = torch.tensor([len(sample.response_ids) for sample in samples])
        weights = token_weights(
            lengths, self._algorithm.aggregation, num_tokens=float(lengths.sum()), num_sequences=len(samples)
        ).tolist()
        weighted = [replace(sample, weight=weight) for sample, weight in zip(samples, weights, strict=True)]
        trained = [sample for sample in weighted if sample.advantage != 0 or self._all_count]
        # An update without any gradient still moves AdamW by its momentum, so it is made, of one weightless sample.
        chosen = trained or [replace(weighted[0], weight=0.0)]
        world = self._learner.world
        return micro_batches(chosen, self._layout, rank=world.rank, num_ranks=world.size, device=world.device)

    @property
    def _all_count(self) -> bool:
        return self._algorithm.kl_coefficient > 0 or self._algorithm.entropy_coefficient > 0
