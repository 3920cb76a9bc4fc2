"""What a person sees and does in Prefect's interface, in a real browser, with the recipe's real stages at toy size.

Pictures of every page are left in build/screenshots.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.config.form import form_values
from rl_core.run_dir import RunDir
from tests.browser import Browser
from tests.flows.team_server import ENDED, REPOSITORY, TeamServer, wait_until
from tests.flows.test_real_recipe import TINY as TINY_RECIPE
from tests.flows.test_worker import CANCEL_SECONDS, processes_of

PICTURES = REPOSITORY / "build" / "screenshots"
POOL = "deepscaler-process"
TINY = {
    ("Name",): "from-the-form",
    ("Data", "Probe Problems"): "8",
    ("Embedded", "Train Problems"): "96",
    ("Embedded", "Test Problems"): "16",
    ("Embedded", "Clean Loss"): "50",
    ("Embedded", "Mixed Steps"): "10",
    ("Rollout", "Num Prompts"): "4",
    ("Rollout", "Num Samples"): "4",
    ("Algorithm", "Minibatch Sequences"): "8",
    ("Validation", "Num Samples"): "1",
    ("Protocol", "Num Samples"): "2",
}
# A setting's part of the form, by the titles of the sections above it, and which of several of that name.
SETTING = """
(path, number) => {
    const title = element => element.querySelector(".schema-form-property__label")
        .innerText.replace(" (Optional)", "").trim().toLowerCase();
    let found = [document];
    for (const name of path)
        found = found.flatMap(element => [...element.querySelectorAll(".schema-form-property")])
            .filter(element => title(element) === name.toLowerCase());
    return found[number];
}
"""
STAGES = f"({SETTING})(['Stages'], 0).querySelectorAll('.schema-form-property-array-item').length"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "browser") as browser:
        yield browser


@pytest.fixture
def worker(deployed: TeamServer, browser: Browser, tmp_path: Path) -> Iterator[Path]:
    """The log of a worker; after the browser, without which there is nothing to do."""
    log = tmp_path / "worker.log"
    settings = {"DEEPSCALER_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    with deployed.worker(POOL, log, **settings):
        yield log


def fill(browser: Browser, value: str, *path: str, number: int = 0) -> None:
    """Type a value into a field of the form."""
    field = f"({SETTING})({json.dumps(path)}, {number})"
    browser.run(
        f"(() => {{ const input = {field}.querySelector('input, textarea'); input.focus(); input.select(); }})()"
    )
    browser.type(value)


def choose(browser: Browser, kind: str, *path: str) -> None:
    """Take a kind of value, where a setting may have several."""
    field = f"({SETTING})({json.dumps(path)}, 0)"
    browser.run(
        f"[...{field}.querySelectorAll('button, label, [role=radio]')]"
        f".find(element => element.innerText.trim() === {json.dumps(kind)}).click()"
    )


def remove_last(browser: Browser, *path: str) -> None:
    """Remove the last item of a list."""
    items = "[...setting.querySelectorAll('.schema-form-property-array-item')]"
    own = "filter(element => element.closest('.schema-form-property') === setting)"
    button = f"[...{items}.{own}.at(-1).querySelectorAll('button')].{own}[0]"
    browser.press(f"(setting => {button})(({SETTING})({json.dumps(path)}, 0))")


@pytest.mark.slow
def test_a_run_is_started_from_the_form_watched_and_read(
    deployed: TeamServer, browser: Browser, worker: Path, tmp_path: Path
) -> None:
    interface = deployed.api.removesuffix("/api")
    browser.open(f"{interface}/deployments")
    browser.wait_for("deepscaler_1_5b_nemo")
    browser.picture(PICTURES / "1-deployments.png")

    deployment = deployed.deployment("deepscaler-recipe/embedded")
    browser.open(f"{interface}/deployments/deployment/{deployment['id']}")
    browser.click("Run", "button")
    browser.click("Custom run", "a, button, [role=menuitem], .p-overflow-menu-item")
    browser.wait_for("names the run, and its folder under runs/")
    for path, value in TINY.items():
        fill(browser, value, *path)
    for stages in (3, 2):
        wait_until(lambda count=stages: browser.run(STAGES) == count, f"{stages} stages")
        remove_last(browser, "Stages")
    wait_until(lambda: browser.run(STAGES) == 1, "one stage")
    fill(browser, "2", "Stages", "Steps")
    choose(browser, "path", "run_dir")
    fill(browser, str(tmp_path / "run"), "run_dir")
    browser.picture(PICTURES / "2-form.png")
    browser.click("Submit", "button", last=True)
    asked = {"deployments": {"id": {"any_": [deployment["id"]]}}, "sort": "START_TIME_DESC"}
    named = {**asked, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}}}
    wait_until(lambda: deployed.post("/flow_runs/filter", named), "the run")
    run = deployed.post("/flow_runs/filter", named)[0]
    changed = run["parameters"]["config"]
    assert (changed["name"], changed["embedded"]["train_problems"]) == ("from-the-form", 96)
    assert [(stage["name"], stage["steps"], stage["rollout"]) for stage in changed["stages"]] == [("8k", 2, None)]

    browser.open(f"{interface}/runs/flow-run/{run['id']}")
    wait_until(lambda: "train 8k" in str(deployed.logs(run["id"])), "training", browser.text)
    browser.wait_for("Running")
    browser.picture(PICTURES / "3-under-way.png")
    ended = deployed.wait_for(run["id"], *ENDED, seen=worker.read_text)
    assert ended["state_type"] == "COMPLETED", worker.read_text()
    browser.open(f"{interface}/runs/flow-run/{run['id']}")
    browser.wait_for("Completed")
    browser.wait_for("evaluate 8k")
    browser.picture(PICTURES / "4-timeline.png")
    browser.click("Artifacts", ".p-tab")
    browser.wait_for("from-the-form-plan")
    browser.scroll_to(".p-virtual-scroller")
    browser.wait_for("from-the-form-report")
    browser.picture(PICTURES / "5-artifacts.png")

    artifacts = deployed.artifacts(run["id"])
    parts = ("plan", "results", "responses", "report", "training-curve", "evaluation-curve", "train-8k-progress")
    assert {f"from-the-form-{part}" for part in parts} <= set(artifacts)
    for number, (part, text) in enumerate(
        (("plan", "convert 8k"), ("results", "pass@1"), ("responses", "Expected"), ("report", "from-the-form")), start=6
    ):
        browser.open(f"{interface}/artifacts/artifact/{artifacts[f'from-the-form-{part}']['id']}")
        browser.wait_for(text)
        browser.picture(PICTURES / f"{number}-{part}.png")


@pytest.mark.slow
def test_cancelled_with_the_button_a_stage_saves_and_is_gone_and_the_same_run_again_goes_on(
    deployed: TeamServer, browser: Browser, worker: Path, tmp_path: Path
) -> None:
    config = load_config(overrides=[*TINY_RECIPE, "name=cancelled", "stages.0.steps=200", "checkpoint.every_steps=100"])
    stage = RunDir(tmp_path / "run", config).stage(0)
    asked = {"config": form_values(config), "run_dir": str(tmp_path / "run")}
    run = deployed.start("deepscaler-recipe/embedded", asked)
    wait_until(lambda: len(steps(stage.metrics)) > 3, "three steps", worker.read_text)
    browser.open(f"{deployed.api.removesuffix('/api')}/runs/flow-run/{run}")
    browser.wait_for("Running")
    browser.click("Cancel", "button")
    browser.wait_for("Cancel Flow Run")
    browser.picture(PICTURES / "10-cancel.png")
    browser.click("Confirm", "button")
    cancelled = time.monotonic()
    wait_until(lambda: not processes_of(run), "every process to be gone", worker.read_text)
    assert time.monotonic() - cancelled < CANCEL_SECONDS
    deployed.wait_for(run, "CANCELLED")
    browser.wait_for("Cancelled")
    browser.picture(PICTURES / "11-cancelled.png")
    last = steps(stage.metrics)[-1]
    assert last < 100, "no checkpoint was due"
    assert [folder.name for folder in stage.checkpoints.iterdir()] == [stage.checkpoint(last).name]

    again = deployed.start("deepscaler-recipe/embedded", asked)
    wait_until(lambda: steps(stage.metrics)[-1] >= last + 2, "two more steps", worker.read_text)
    deployed.post(f"/flow_runs/{again}/set_state", {"state": {"type": "CANCELLING"}})
    wait_until(lambda: not processes_of(again), "every process to be gone", worker.read_text)
    assert any(f"continues after step {last}" in line["message"] for line in deployed.logs(again))
    assert steps(stage.metrics) == list(range(len(steps(stage.metrics))))


def steps(metrics: Path) -> list[int]:
    """The steps that a stage has recorded, from 0."""
    return [json.loads(line)["step"] for line in metrics.read_text().splitlines()] if metrics.is_file() else []
