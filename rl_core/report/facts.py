"""What a report is made from, as plain values: what the files of a run say, and which of them are not there.

Read by `collect`, compared by `compare`, told by `sections` and drawn by `plots`. Nothing here touches a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_core.config import SFT, RecipeConfig
from rl_core.hardware import Hardware


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval; a value alone where no interval was recorded."""

    value: float
    low: float | None = None
    high: float | None = None

    def overlaps(self, other: "Interval") -> bool | None:
        """Whether the two intervals share a point; None when one of them has no interval."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return None
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One held-out problem and how often the model solved it."""

    index: int
    problem: str
    answer: str
    num_correct: int
    num_scored: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One response of an evaluation; without its text where only the numbers were read."""

    index: int  # of the problem
    sample: int
    response_tokens: int
    reward: float | None  # None: unscored
    truncated: bool
    extracted: str | None
    response: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model under the run's protocol."""

    file: Path
    model_digest: str
    benchmark: str
    dataset_digest: str
    protocol: Mapping[str, Any]
    num_problems: int
    pass_at_1: Interval
    pass_at_k: Mapping[int, Interval]
    majority_at_k: Mapping[int, Interval]
    agreement_at_k: Mapping[int, Interval]
    response_tokens_mean: float
    truncated_fraction: float
    no_answer_fraction: float
    unscored_count: int
    problems: tuple[ProblemRow, ...]
    samples: tuple[Sample, ...] | None  # without texts; None: the parquet is not there
    num_trained: int | None = None  # of its problems, those that the run also trains on; None: not known


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One stage: its settings, every line it measured, and what came of it."""

    index: int  # 0 is the first
    name: str
    planned_steps: int
    limit_tokens: int  # the longest response of the stage
    first_step: int  # steps of all stages before this one
    metrics: tuple[Mapping[str, Any], ...]  # by step; step 0 holds only measurements
    summary: Mapping[str, Any] | None
    model: Mapping[str, Any] | None  # manifest of the converted model
    evaluation: Evaluation | None
    further: tuple[Evaluation, ...] = ()

    @property
    def steps_done(self) -> int:
        return int(self.metrics[-1]["step"]) if self.metrics else 0

    @property
    def complete(self) -> bool:
        return self.summary is not None and self.summary.get("status") == "complete"

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps counted over all stages, and the values of one metric at the steps that have it."""
        found = [(self.first_step + int(line["step"]), line.get(name)) for line in self.metrics]
        pairs = [(step, float(value)) for step, value in found if isinstance(value, int | float)]
        return [step for step, _ in pairs], [value for _, value in pairs]


@dataclass(frozen=True, slots=True)
class FineTuning:
    """The supervised training before the stages."""

    metrics: tuple[Mapping[str, Any], ...]  # by step; step 0 holds only what was measured before the first
    summary: Mapping[str, Any] | None
    model: Mapping[str, Any] | None  # manifest of the converted model
    evaluation: Evaluation | None
    further: tuple[Evaluation, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """One process that worked on a part of the run."""

    part: str  # as in the plan
    started_at: str  # ISO 8601, UTC
    seconds: float
    status: str  # of `rl_core.work`
    hardware: Hardware

    @property
    def device_hours(self) -> float:
        """Hours of all its devices together."""
        return self.hardware.num_devices * self.seconds / 3600


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the results table: the base, the fine-tuned one, or what a stage ended with."""

    name: str
    cumulative_step: int
    evaluation: Evaluation
    further: tuple[Evaluation, ...] = ()  # on other benchmarks, or under other protocols


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Everything that a report tells."""

    root: Path
    config: RecipeConfig
    sources: Mapping[str, Any] | None  # manifests
    data: Mapping[str, Any] | None
    base: Mapping[str, Any] | None
    base_evaluation: Evaluation | None
    base_further: tuple[Evaluation, ...]
    stages: tuple[StageFacts, ...]
    missing: tuple[str, ...]  # one sentence each
    fine_tuning: FineTuning | None = None  # None: the recipe has none
    work: tuple[Work, ...] = ()  # in the order in which it began
    reward_model: Mapping[str, Any] | None = None  # summary of the training of the run's own
    links: tuple[tuple[str, str], ...] = ()  # where else the run can be seen: what, and its address

    @property
    def models(self) -> tuple[Model, ...]:
        """The evaluated models, in the order in which they were made."""
        base = [Model("base", 0, self.base_evaluation, self.base_further)] if self.base_evaluation else []
        tuned = self.fine_tuning
        if tuned is not None and tuned.evaluation:
            base.append(Model(SFT, 0, tuned.evaluation, tuned.further))
        stages = [
            Model(stage.name, stage.first_step + stage.steps_done, stage.evaluation, stage.further)
            for stage in self.stages
            if stage.evaluation
        ]
        return (*base, *stages)
