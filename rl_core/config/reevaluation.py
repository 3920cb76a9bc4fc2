"""The settings of `flows.reevaluate`: which models, asked what and how, and when to raise an alarm."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from rl_core.config.section import Section

OF_THE_RECIPE = "recipe"  # in place of a name: what each run's own recipe says


class HubModelConfig(Section):
    """A model on a hub, at one or several revisions that were made one after the other."""

    model_name: str = Field(pattern=r"^[^/\s]+/[^/\s]+$", description="OWNER/NAME on the hub")
    revisions: tuple[str, ...] = Field(
        ("main",),
        min_length=1,
        description="commits, tags or branches, the oldest first; a branch is asked where it is",
    )
    hub: Literal["huggingface", "modelscope"] = "huggingface"


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
    benchmark: str = Field(OF_THE_RECIPE, description="recipe: the one that each run's own recipe names")
    protocol: str = Field(OF_THE_RECIPE, description="recipe: each run's own")
    checkpoints: Literal["all", "stages"] = Field(
        "all", description="stages: only what each stage ended with, not what it saved on the way"
    )
    keep_converted: bool = Field(
        False, description="keep the Hugging Face folder of a checkpoint that was converted to be evaluated"
    )
    hub_models: tuple[HubModelConfig, ...] = Field((), description="evaluated beside the runs")
    alarm: AlarmConfig = Field(default_factory=AlarmConfig)
