"""From the last checkpoint of a supervised training to its last step: each step recorded, saved when due, stoppable."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from rl_core.checkpoint.state import complete_checkpoints
from rl_core.errors import Interrupted
from rl_core.progress import Progress
from rl_core.run_dir import StageDir
from rl_core.tracking import Tracker
from rl_core.training.clock import Clock
from rl_core.training.guard import NonfiniteGuard
from rl_core.training.partitions import create_moments
from rl_core.training.records import cut_metrics, write_metrics
from rl_core.training.signals import StopRequest
from rl_core.training.trained_module import TrainedModule
from rl_core.world import World

Metrics = dict[str, Any]
Trained = TypeVar("Trained", bound=TrainedModule)


class Saver(Protocol):
    """Writes the checkpoints of one training, one after another; `rl_core.checkpoint.saving.CheckpointSaver` is one."""

    latest: Path | None  # published, or being written
    write_seconds: float | None  # of the last one that was published, beside the training

    def save(self, directory: Path, state: dict[str, Any]) -> None:
        """Start to write a checkpoint, once the one before is published. A collective call."""
        ...

    def finish(self) -> None:
        """Wait until what is being written is published."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def whole_batches(num_rows: int, batch: int, epochs: int) -> int:
    """Updates of the whole training: whole batches only, so that no row is seen once more than another is left out."""
    return max(1, epochs * num_rows // batch)


def resume(
    work: str,
    checkpoints: Path,
    key: str,
    module: Trained,
    nonfinite: NonfiniteGuard,
    restore: Callable[[Path, Trained], dict[str, Any]],
) -> tuple[int, Metrics | None]:
    """Restore the newest checkpoint of a training; its step and line of metrics, 0 and None where there is none.

    A collective call.

    Raises:
        MistakeError: the checkpoints were made by another recipe.
    """
    found = complete_checkpoints(checkpoints, key)
    if not found:
        create_moments(module, 0)
        return 0, None
    state = restore(found[-1], module)
    nonfinite.in_a_row = state["nonfinite_in_a_row"]
    if module.world.is_first:
        print(f"{work}: continues after step {state['step']}", flush=True)
    return int(state["step"]), state["metrics"]


class SupervisedLoop:
    """The steps of one training, on one rank of its world; every rank runs it alike."""

    def __init__(
        self, work: str, files: StageDir, saver: Saver, world: World, *, num_steps: int, save_every: int
    ) -> None:
        """Args:
        work: what progress is called by.
        save_every: steps between two checkpoints; the last step has one as well.
        """
        self._work, self._files, self._saver, self._world = work, files, saver, world
        self._num_steps, self._save_every = num_steps, save_every

    def run(
        self,
        last_step: int,
        last_line: Metrics | None,
        *,
        before: Callable[[], Metrics],
        step: Callable[[int], Metrics],
        state: Callable[[], dict[str, Any]],
        tracker: Tracker,
        figures: tuple[str, ...],
    ) -> None:
        """Everything behind `last_step`, which is 0 where nothing was restored. A collective call.

        Args:
            last_line: the metrics of that step, as its checkpoint holds them.
            before: what is measured before the first step.
            step: does one step and returns its line of metrics.
            state: what a checkpoint holds of the training, beside the step and its metrics.
            figures: names of metrics that progress shows.

        Raises:
            Interrupted: it was asked to stop; the state after the step that was under way is saved.
        """
        if self._world.is_first:
            self._files.root.mkdir(parents=True, exist_ok=True)
            cut_metrics(self._files.metrics, last_step, last_line)
        progress = Progress(self._work, self._num_steps, enabled=self._world.is_first)
        with StopRequest() as stop, progress, tracker, self._saver:
            if last_step == 0:
                self._record({"step": 0, **before()}, tracker)
            for number in range(last_step + 1, self._num_steps + 1):
                metrics = {"step": number, **step(number)}
                if number % self._save_every == 0 or number == self._num_steps:
                    self._save(number, metrics, state())
                self._record(metrics, tracker)
                progress.update(number, **{name: metrics[name] for name in figures if metrics[name] is not None})
                self._stop_if_asked(stop, number, metrics, state)

    def _save(self, number: int, metrics: Metrics, state: dict[str, Any]) -> None:
        """Start a checkpoint, and add the time that it holds the step up; wait for the last one."""
        clock = Clock()
        with clock("save"):
            self._saver.save(self._files.checkpoint(number), {"step": number, "metrics": metrics, **state})
            if number == self._num_steps:
                self._saver.finish()
        metrics.update(clock.seconds, step_seconds=metrics["step_seconds"] + clock.seconds["save_seconds"])
        metrics["save_background_seconds"] = self._saver.write_seconds

    def _record(self, metrics: Metrics, tracker: Tracker) -> None:
        if self._world.is_first:
            write_metrics(self._files.metrics, metrics)
            tracker.log(metrics)

    def _stop_if_asked(
        self, stop: StopRequest, number: int, metrics: Metrics, state: Callable[[], dict[str, Any]]
    ) -> None:
        """End between two steps, on every rank at once, when any was asked to by a signal."""
        (asked,) = self._world.sum([float(stop.exit_code or 0)])
        if not asked:
            return
        checkpoint = self._files.checkpoint(number)
        if self._saver.latest != checkpoint and not checkpoint.exists():
            self._saver.save(checkpoint, {"step": number, "metrics": metrics, **state()})
        self._saver.finish()
        raise Interrupted(stop.exit_code or Interrupted().exit_code)
