"""The settings of `flows.reevaluate`: which models, asked what and how, and when to raise an alarm."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from rl_core.config.evaluation import ProtocolConfig
from rl_core.config.section import Section
from rl_core.evaluation.benchmarks import OF_THE_RUN, check_benchmark


class HubModelConfig(Section):
    """A model on a hub."""

    model_name: str = Field(pattern=r"^[^/\s]+/[^/\s]+$", description="OWNER/NAME on the hub")
    revision: str = Field("main", description="commit, tag or branch; a branch is looked at anew in each pass")
    hub: Literal["huggingface", "modelscope"] = "huggingface"


class HubModelsConfig(Section):
    """Revisions of a model on a hub that were made one after the other, and what they were made from."""

    model_name: str = Field(pattern=r"^[^/\s]+/[^/\s]+$", description="OWNER/NAME on the hub")
    revisions: tuple[str, ...] = Field(
        ("main",), min_length=1, description="the oldest first: commits, tags or branches, which are looked at anew"
    )
    hub: Literal["huggingface", "modelscope"] = "huggingface"
    base: HubModelConfig | None = Field(None, description="the control that they are compared with; null: none")


class AlarmConfig(Section):
    """When a checkpoint that became worse is told, and to whom. It is on the leaderboard in any case."""

    max_false_alarm_rate: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="chance at most that a pass in which no new checkpoint is worse flags one nevertheless",
    )
    fail: bool = Field(False, description="end with exit code 3, and the flow run as failed, where one is flagged")
    emit_event: bool = Field(True, description="send deepscaler.evaluation.regression to Prefect for each flagged one")


class ReevaluationConfig(Section):
    """Which models are evaluated again, under what, and what happens when one is worse. A form in Prefect."""

    runs: Path = Field(Path("runs"), description="folder of runs, or a single run")
    benchmark: str | None = Field(
        None, description="as in a recipe's evaluation.benchmark; null: the one of each run's own recipe"
    )
    benchmark_folder: str | None = Field(None, description="as in a recipe's evaluation.benchmark_folder")
    protocol: ProtocolConfig | None = Field(
        None, description="as in a recipe's evaluation.protocol; null: that of each run's own recipe"
    )
    checkpoints: Literal["all", "stages"] = Field(
        "all", description="stages: only what each stage ended with, not what it saved on the way"
    )
    keep_converted: bool = Field(
        False, description="keep the Hugging Face folder of a checkpoint that was converted to be evaluated"
    )
    hub_models: tuple[HubModelsConfig, ...] = Field((), description="evaluated beside the runs")
    alarm: AlarmConfig = Field(default_factory=AlarmConfig)

    @model_validator(mode="after")
    def _benchmark_is_known(self) -> Self:
        if self.benchmark is not None:
            check_benchmark(self.benchmark, "benchmark")
        return self

    @model_validator(mode="after")
    def _hub_models_are_named_once(self) -> Self:
        names = [models.model_name for models in self.hub_models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"hub_models: {names.count(name)} entries name {name}: give all its revisions to one")
        return self

    @property
    def title(self) -> str:
        """What is asked, in a few words; names a flow run."""
        protocol = "each run's protocol" if self.protocol is None else f"protocol {self.protocol.label or 'of its own'}"
        return f"{self.benchmark or 'the benchmark of each run'}, {protocol}"

    @model_validator(mode="after")
    def _hub_models_are_asked_something(self) -> Self:
        if self.hub_models and (self.benchmark is None or self.protocol is None):
            raise ValueError("hub_models have no recipe of their own: say `benchmark` and `protocol`")
        if self.hub_models and self.benchmark in OF_THE_RUN:
            raise ValueError(f"benchmark is {self.benchmark!r}, data of a run, which hub_models have none of")
        return self
