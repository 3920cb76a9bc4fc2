"""An interruption at the worst moment: while Prefect serializes what a stage has said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.ending import exit_code_of
from rl_core.config import RecipeConfig
from tasks import publishing
from tests.interrupted import Interrupted

pytestmark = pytest.mark.usefixtures("prefect_server", "hears_ctrl_c")


def test_in_the_progress_of_a_stage_it_stops_the_stage_after_a_checkpoint(
    recipe: RecipeConfig,
    run_dir: Path,
    stand_in: Callable[..., None],
    calls: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.deepscaler_recipe import deepscaler_recipe

    monkeypatch.setattr(publishing, "create_progress_artifact", lambda *_, **__: Interrupted().model_dump())
    stand_in(train={"seconds": 3.0})
    with pytest.raises(KeyboardInterrupt):
        deepscaler_recipe(recipe, run_dir)
    assert calls()[-2:] == ["train 0 step 2", "train 0 stopped"]


def test_anywhere_else_it_ends_the_command_as_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        Interrupted().model_dump()

    assert exit_code_of(interrupted, "flows.deepscaler_recipe", ["seed=1"]) == 130
    assert capsys.readouterr().err.strip().endswith("-m flows.deepscaler_recipe seed=1")
