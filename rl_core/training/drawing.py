"""The rollouts of one step: problems in their order, sampled and scored; drawn again under dynamic sampling."""

from dataclasses import dataclass

from rl_core.config import StageConfig
from rl_core.rollout.collect import Collected, Collector, Rollout
from rl_core.rollout.concurrency import tail_fraction
from rl_core.rollout.engine import Sampling
from rl_core.training.problems import StageProblems
from rl_core.training.sampler import problems_at
from rl_core.training.samples import informative_groups, rewards_of


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was sampled for a step, and what of it is trained on."""

    batches: tuple[Collected, ...]
    trained: list[Rollout]  # G responses side by side to each of P prompts
    position: int  # in the order of problems, behind those that were drawn

    @property
    def sampled(self) -> list[Rollout]:
        """Every response, also of groups that were left out."""
        return [rollout for batch in self.batches for rollout in batch.rollouts]

    @property
    def generate_seconds(self) -> float:
        return sum(batch.generate_seconds for batch in self.batches)

    @property
    def tail_fraction(self) -> float:
        """Of the time in which responses were sampled; see `rl_core.rollout.concurrency`."""
        shares = [tail_fraction([rollout.completion for rollout in batch.rollouts]) for batch in self.batches]
        weights = [batch.generate_seconds for batch in self.batches]
        return sum(share * weight for share, weight in zip(shares, weights, strict=True)) / sum(weights)

    @property
    def score_seconds(self) -> float:
        return sum(batch.score_seconds for batch in self.batches)


class Drawing:
    """Draws what a stage trains on."""

    def __init__(
        self, collector: Collector, problems: StageProblems, stage: StageConfig, *, seed: int, index: int
    ) -> None:
        self._collector, self._problems, self._stage = collector, problems, stage
        self._seed, self._index = seed, index

    def draw(self, step: int, position: int) -> Drawn:
        """The rollouts of `step`, from the problems behind `position`. A collective call.

        With dynamic sampling, batches are drawn until P groups have rewards that differ, up to the stage's bound and
        never one problem twice; what is missing then is filled up with groups that have nothing to teach, so that a
        step always has the same size.

        Source: DAPO, Yu et al. 2025, arXiv 2503.14476, section 3.2, which draws without a bound.
        """
        num_prompts, batches = self._stage.rollout.num_prompts, [self._collect(step, position)]
        while len(batches) < self._most_batches and self._num_informative(batches) < num_prompts:
            batches.append(self._collect(step, position + len(batches) * num_prompts))
        return Drawn(tuple(batches), self._chosen(batches), position + len(batches) * num_prompts)

    @property
    def _most_batches(self) -> int:
        """In one step: as many as it may draw, and no more than there are problems for."""
        bound = self._stage.algorithm.dynamic_sampling or 1
        return min(bound, max(1, len(self._problems.train) // self._stage.rollout.num_prompts))

    def _collect(self, step: int, position: int) -> Collected:
        rollout, train = self._stage.rollout, self._problems.train
        chosen = problems_at(
            position,
            rollout.num_prompts,
            num_problems=len(train),
            seed=self._seed,
            stage=self._index,
            apart=self._most_batches * rollout.num_prompts,
        )
        return self._collector.collect(
            [train[index] for index in chosen],
            self._problems.limits,
            Sampling(rollout.temperature),
            num_samples=rollout.num_samples,
            seed=(self._seed, "rollout", self._index, step),
        )

    def _num_informative(self, batches: list[Collected]) -> int:
        rollouts = [rollout for batch in batches for rollout in batch.rollouts]
        return int(informative_groups(rewards_of(rollouts), self._stage.rollout.num_samples).sum())

    def _chosen(self, batches: list[Collected]) -> list[Rollout]:
        if self._stage.algorithm.dynamic_sampling is None:
            return batches[0].rollouts
        size = self._stage.rollout.num_samples
        rollouts = [rollout for batch in batches for rollout in batch.rollouts]
        informative = informative_groups(rewards_of(rollouts), size).tolist()
        first = sorted(range(len(informative)), key=lambda group: not informative[group])
        groups = sorted(first[: self._stage.rollout.num_prompts])
        return [rollout for group in groups for rollout in rollouts[group * size : (group + 1) * size]]
