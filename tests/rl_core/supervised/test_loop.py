"""The steps of a supervised training: a signal ends them with their state saved, and no longer than they take."""

import os
import signal
from pathlib import Path
from typing import Any, Self

import pytest

from rl_core.config import SFT, load_config
from rl_core.errors import Interrupted
from rl_core.run_dir import RunDir
from rl_core.supervised.loop import SupervisedLoop
from rl_core.tracking import Tracker
from rl_core.world import World

STEPS = 3
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Saver:
    """Keeps the numbers of the steps that it was asked to save; may be sent a signal while it does its last work."""

    def __init__(self, sent_at_the_end: signal.Signals | None = None) -> None:
        self.latest: Path | None = None
        self.write_seconds: float | None = None
        self.steps: list[int] = []
        self._sent = sent_at_the_end

    def save(self, directory: Path, state: dict[str, Any]) -> None:
        self.latest = directory
        self.steps.append(state["step"])

    def finish(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sent is not None:
            os.kill(os.getpid(), self._sent)


def run_loop(folder: Path, world: World, saver: Saver, *, signal_in_step: int | None = None) -> None:
    run = RunDir(folder, load_config())

    def step(number: int) -> dict[str, Any]:
        if number == signal_in_step:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"loss": 1.0, "step_seconds": 0.0}

    SupervisedLoop("work", run.stage(SFT), saver, world, num_steps=STEPS, save_every=STEPS).run(
        0,
        None,
        before=lambda: {"loss": 2.0},
        step=step,
        state=lambda: {},
        tracker=Tracker(run, SFT, enabled=False),
        figures=("loss",),
    )


def test_a_signal_ends_the_loop_behind_its_step_which_is_saved(tmp_path: Path, world: World) -> None:
    saver = Saver()
    with pytest.raises(Interrupted) as stopped:
        run_loop(tmp_path, world, saver, signal_in_step=2)
    assert (stopped.value.exit_code, saver.steps) == (143, [2])


def test_what_follows_the_loop_is_ended_by_a_signal_as_what_went_before_it(tmp_path: Path, world: World) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    run_loop(tmp_path, world, Saver())
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_behind_the_last_step_is_not_forgotten(tmp_path: Path, world: World, number: signal.Signals) -> None:
    saver = Saver(sent_at_the_end=number)
    with pytest.raises(Interrupted) as stopped:
        run_loop(tmp_path, world, saver)
    assert (stopped.value.exit_code, saver.steps) == (128 + number, [STEPS])
