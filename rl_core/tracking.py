"""Weights & Biases: the same figures as metrics.jsonl, under one run id for each stage, resumed under that id.

Offline by default: the run is written below the stage's folder, and `wandb sync` uploads it later.
"""

import os
from types import TracebackType
from typing import Any, Self

from rl_core.manifest import digest_of
from rl_core.run_dir import RunDir, StageIndex


class Tracker:
    """Logs one training. Use as a context manager; does nothing where tracking is disabled."""

    def __init__(self, run: RunDir, index: StageIndex | None, *, enabled: bool) -> None:
        """Args:
        index: of the stage; None: the training of the reward model.
        """
        self._run = run
        if index is None:
            self._name, self._files = "reward model", run.reward_model_training
        else:
            self._name, self._files = run.stage_name(index), run.stage(index)
        self._key = run.reward_model_training_key() if index is None else run.stage_key(index)
        self._enabled = enabled and run.config.tracking.wandb != "disabled"
        self._wandb: Any = None

    def __enter__(self) -> Self:
        if self._enabled:
            os.environ.setdefault("WANDB_SILENT", "true")
            import wandb

            tracking = self._run.config.tracking
            self._wandb = wandb.init(
                project=tracking.project,
                entity=tracking.entity,
                mode=tracking.wandb,
                dir=self._files.root,
                id=digest_of([str(self._run.root.resolve()), self._key]),
                name=f"{self._run.config.name} {self._name}",
                group=self._run.config.name,
                config=self._run.config.model_dump(mode="json"),
                resume="allow",
            )
        return self

    def log(self, metrics: dict[str, Any]) -> None:
        """One line of metrics, at its step."""
        if self._wandb:
            numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
            self._wandb.log(numbers, step=metrics["step"])

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._wandb:
            self._wandb.finish(exit_code=0 if kind is None else 1)
