import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.sorting import LogSort

from rl_core.config import RecipeConfig, check_config
from rl_core.errors import GuardStop, Interrupted, MistakeError
from rl_core.opening import open_run
from rl_core.run_dir import RunDir
from tasks.failures import StageFailed, StageOutOfMemory
from tasks.results import results_table
from tests.flows.team_server import wait_until

pytestmark = pytest.mark.usefixtures("prefect_server")

EVERYTHING = [
    "download",
    "prepare",
    "warm-up",
    "evaluate None",
    "train 0 step 1",
    "train 0 step 2",
    "train 0 step 3",
    "convert 0",
    "evaluate 0",
    "report",
]
WITH_ALL_PARTS = {
    "sft": {"data": {"source": "embedded"}, "max_tokens": 160},
    "pairs": {"first_row": 0, "num_rows": 10},
    "reward_model": {},
    "rewards": [{"name": "reward_model", "kwargs": {"model": "trained"}}],
}
EVERY_PART = [
    *EVERYTHING[:4],
    "train sft step 1",
    "train sft step 2",
    "convert sft",
    "evaluate sft",
    "pairs",
    "reward-model",
    *EVERYTHING[4:],
]
Behave = Callable[..., None]
Calls = Callable[[], list[str]]


def run_flow(recipe: RecipeConfig, run_dir: Path) -> Path:
    from flows.deepscaler_recipe import deepscaler_recipe

    return deepscaler_recipe(recipe, run_dir)


@pytest.fixture
def no_delays() -> Iterator[None]:
    """New attempts at once."""
    from tasks.recipe_task import STAGE_DELAYS

    before = list(STAGE_DELAYS)
    STAGE_DELAYS[:] = [0.0] * len(before)
    yield
    STAGE_DELAYS[:] = before


def test_every_part_is_made_in_the_order_of_the_recipe_and_none_twice(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    assert run_flow(recipe, run_dir) == run_dir / "report.md"
    assert calls() == EVERYTHING

    run_flow(recipe, run_dir)
    assert calls() == ["report"]


def test_a_benchmark_that_is_added_later_is_fetched_and_every_model_evaluated_and_nothing_else(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    def asked(*benchmarks: str) -> RecipeConfig:
        values = recipe.model_dump(mode="json")
        values["evaluation"] |= {"further_benchmarks": list(benchmarks)}
        return check_config(values, origin="this test")

    run_flow(asked("aime24"), run_dir)
    assert sorted(calls()) == sorted(["benchmark aime24", *EVERYTHING])
    run_flow(asked("aime24", "amc"), run_dir)
    assert calls() == ["benchmark amc", "evaluate None", "evaluate 0", "report"]
    rows = results_table(RunDir(run_dir, asked("aime24", "amc")))
    assert [{name for name in row if name.startswith("pass@1 ")} for row in rows] == [
        {"pass@1 aime24", "pass@1 amc"}
    ] * 2


def test_a_model_is_published_after_the_report_once_and_its_page_is_an_artifact(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    from prefect.artifacts import Artifact

    publishing = check_config({**recipe.model_dump(mode="json"), "publish": {"repo": "someone/model"}}, origin="test")
    run_flow(publishing, run_dir)
    assert calls() == [*EVERYTHING, "publish"]
    run_flow(publishing, run_dir)
    assert calls() == ["report"]
    link = Artifact.get("one-published")
    assert link is not None
    assert "https://hub.example/model" in str(link.data)


def test_an_output_that_vanished_is_made_again_and_nothing_else(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    run_flow(recipe, run_dir)
    calls()
    shutil.rmtree(RunDir(run_dir, recipe).stage(0).hf)
    (RunDir(run_dir, recipe).data / "content.txt").unlink()

    run_flow(recipe, run_dir)
    assert calls() == ["prepare", "convert 0", "report"]


def test_a_reward_model_of_the_hub_is_fetched_with_the_first_policy_and_again_when_it_vanished(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    learned = {"name": "reward_model", "kwargs": {"model": "org/judge"}}
    judged = check_config({**recipe.model_dump(mode="json"), "rewards": [learned]}, origin="the test")
    run_flow(judged, run_dir)
    assert calls() == [*EVERYTHING[:2], "reward model", *EVERYTHING[2:]]
    shutil.rmtree(RunDir(run_dir, judged).reward_model)

    run_flow(judged, run_dir)
    assert calls() == ["reward model", "report"]


def test_a_critic_of_the_hub_is_fetched_with_the_first_policy_and_again_when_it_vanished(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    values = recipe.model_dump(mode="json")
    for section in (values, *values["stages"]):
        section["algorithm"] |= {"baseline": "critic", "scale": "none"}
    valued = check_config({**values, "critic": {"model_name": "org/values"}}, origin="the test")
    run_flow(valued, run_dir)
    assert calls() == [*EVERYTHING[:2], "critic", *EVERYTHING[2:]]
    shutil.rmtree(RunDir(run_dir, valued).critic)

    run_flow(valued, run_dir)
    assert calls() == ["critic", "report"]


def test_what_a_recipe_makes_before_its_stages_is_made_in_order_and_none_twice(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    whole = check_config({**recipe.model_dump(mode="json"), **WITH_ALL_PARTS}, origin="the test")
    run_flow(whole, run_dir)
    assert calls() == EVERY_PART
    rows = [row["model"] for row in results_table(RunDir(run_dir, whole))]
    assert rows == ["base", "sft", "only"]
    shutil.rmtree(RunDir(run_dir, whole).pairs)

    run_flow(whole, run_dir)
    assert calls() == ["pairs", "report"]


@pytest.mark.slow
def test_interrupted_at_every_arrow_the_same_command_ends_it_and_makes_no_part_twice(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    whole = check_config({**recipe.model_dump(mode="json"), **WITH_ALL_PARTS}, origin="the test")
    works = ["download", "prepare", "warm-up", "sft", "convert", "evaluate", "pairs", "reward-model", "train", "report"]
    stand_in(**{work: {"exit": 143, "times": 1} for work in works})
    for _ in works:
        with pytest.raises(Interrupted):
            run_flow(whole, run_dir)
    run_flow(whole, run_dir)
    assert [call for call in calls() if not call.endswith(" failed")] == EVERY_PART


def test_parts_made_without_prefect_are_recognised(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, tmp_path: Path
) -> None:
    run_flow(recipe, run_dir)
    calls()
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)  # Prefect has never heard of this folder

    run_flow(recipe, copy)
    assert (copy / "calls.log").read_text() == "report\n"


def test_a_failure_that_passes_is_tried_again(
    recipe: RecipeConfig,
    run_dir: Path,
    stand_in: Behave,
    calls: Calls,
    no_delays: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in(train={"exit": 1, "times": 2, "message": "CUDA error: unspecified launch failure"})
    run_flow(recipe, run_dir)
    assert calls()[4:8] == ["train failed", "train failed", "train 0 step 1", "train 0 step 2"]
    assert "attempt 2 of 3 failed; the next starts in 0 s" in capsys.readouterr().out


def test_a_failure_that_stays_ends_the_flow_with_the_last_words_of_the_stage(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, no_delays: None
) -> None:
    stand_in(convert={"exit": 1, "message": "No space left on device"})
    with pytest.raises(StageFailed, match=r"convert only ended with code 1(.|\n)*No space left on device"):
        run_flow(recipe, run_dir)
    assert calls().count("convert failed") == 3


def test_out_of_memory_a_stage_trains_with_half_the_micro_batch_until_it_fits_and_remembers(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(train={"exit": 4, "times": 2, "message": "out of memory: CUDA out of memory. Tried to allocate 2 GiB"})
    run_flow(recipe, run_dir)
    assert calls()[4:8] == [
        "train failed",
        "train failed",
        "train with training.micro_batch_tokens=8192",
        "train 0 step 1",
    ]
    said = "train only: out of memory with training.micro_batch_tokens=16384; again with 8192, which changes no result"
    assert said in capsys.readouterr().out

    stand_in()
    shutil.rmtree(RunDir(run_dir, recipe).stage(0).checkpoints)
    run_flow(recipe, run_dir)
    assert calls()[0] == "train with training.micro_batch_tokens=8192"


def test_out_of_memory_a_reward_model_trains_with_half_the_micro_batch_as_well(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    whole = check_config({**recipe.model_dump(mode="json"), **WITH_ALL_PARTS}, origin="the test")
    stand_in(**{"reward-model": {"exit": 4, "times": 1, "message": "out of memory"}})
    run_flow(whole, run_dir)
    start = EVERY_PART.index("reward-model")
    assert calls()[start : start + 3] == [
        "reward-model failed",
        "reward-model with training.micro_batch_tokens=16384",
        "reward-model",
    ]

    stand_in()
    shutil.rmtree(RunDir(run_dir, whole).reward_model)
    run_flow(whole, run_dir)
    assert calls()[0] == "reward-model with training.micro_batch_tokens=16384"


def test_out_of_memory_with_one_pair_at_a_time_a_reward_model_ends(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, no_delays: None
) -> None:
    whole = check_config({**recipe.model_dump(mode="json"), **WITH_ALL_PARTS}, origin="the test")
    stand_in(**{"reward-model": {"exit": 4, "message": "out of memory"}})
    with pytest.raises(StageOutOfMemory, match=r"is 2048, and the longest pair has 3072: smaller micro-batches would"):
        run_flow(whole, run_dir)
    halvings = 4  # of 32768 to 2048, the first not above two conversations of reward_model.max_tokens
    assert calls().count("reward-model failed") == 1 + halvings + 2, "then twice more, with what was tried last"


def test_out_of_memory_with_one_sequence_at_a_time_says_what_helps(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, no_delays: None
) -> None:
    stand_in(train={"exit": 4, "message": "out of memory"})
    with pytest.raises(StageOutOfMemory, match=r"the longest sequence has 96: smaller micro-batches would not help"):
        run_flow(recipe, run_dir)
    halvings = 9  # of 32768 to 64, the first not above the longest sequence
    assert calls().count("train failed") == 1 + halvings + 2, "then twice more, with what was tried last"


@pytest.mark.slow
def test_a_stage_that_hangs_is_named_says_where_it_is_is_ended_and_tried_again(
    recipe: RecipeConfig,
    run_dir: Path,
    stand_in: Behave,
    calls: Calls,
    no_delays: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    impatient = check_config(
        {**recipe.model_dump(mode="json"), "guard": {"max_silent_seconds": 20.0}}, origin="the test"
    )
    stand_in(train={"hang": True, "times": 1})
    run_flow(impatient, run_dir)
    assert calls()[4:6] == ["train hangs", "train 0 step 1"]
    assert "train only hangs: it said nothing for 20 s (guard.max_silent_seconds)" in capsys.readouterr().out
    assert re.search(r'File ".*stand_in.py", line \d+ in main', (run_dir / "logs" / "train-only.log").read_text())


def test_a_credential_that_a_stage_writes_reaches_no_log(
    recipe: RecipeConfig,
    run_dir: Path,
    stand_in: Behave,
    no_delays: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from prefect.client.orchestration import get_client

    monkeypatch.setenv("WANDB_API_KEY", "k3y-of-somebody")
    stand_in(convert={"exit": 1, "times": 1, "message": "401 for k3y-of-somebody"})
    run_flow(recipe, run_dir)
    assert "401 for [not shown]" in (run_dir / "logs" / "convert-only.log").read_text()
    with get_client(sync_client=True) as client:
        wait_until(lambda: "401 for [not shown]" in logged(client), "the line, which Prefect sends a little later")
        told = logged(client)
        states = [run.state.message or "" for run in client.read_task_runs(limit=200) if run.state]
    seen = [told, *states, *capsys.readouterr(), *(log.read_text() for log in (run_dir / "logs").iterdir())]
    assert not any("k3y-of-somebody" in text for text in seen)


def logged(client: SyncPrefectClient) -> str:
    """What Prefect's server was sent of the newest runs."""
    return "\n".join(log.message for log in client.read_logs(limit=200, sort=LogSort.TIMESTAMP_DESC))


def test_a_mistake_is_not_tried_again_and_its_message_arrives_whole(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, no_delays: None
) -> None:
    stand_in(prepare={"exit": 2, "message": "error: data.train.path: no such file\n  give another"})
    with pytest.raises(MistakeError) as refused:
        run_flow(recipe, run_dir)
    assert str(refused.value) == "data.train.path: no such file\n  give another"
    assert calls() == ["download", "prepare failed"]


def test_a_guard_is_not_tried_again(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, no_delays: None
) -> None:
    stand_in(train={"exit": 3, "message": "stopped: loss is not finite at step 2"})
    with pytest.raises(GuardStop, match="loss is not finite at step 2"):
        run_flow(recipe, run_dir)
    assert calls()[-1] == "train failed"


def test_a_stage_that_ends_well_and_leaves_nothing_has_failed(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls, no_delays: None
) -> None:
    stand_in(convert={"exit": 0, "message": "nothing to do"})
    with pytest.raises(StageFailed, match="is not complete"):
        run_flow(recipe, run_dir)


def test_a_run_that_another_has_open_is_refused(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    with open_run(recipe, run_dir), pytest.raises(MistakeError, match="another process is working on this run"):
        run_flow(recipe, run_dir)
    assert calls() == []


def test_parts_of_another_recipe_are_refused(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    run_flow(recipe, run_dir)
    calls()
    other = check_config({**recipe.model_dump(mode="json"), "seed": 1}, origin="test")
    with pytest.raises(MistakeError, match="seed: 0 -> 1"):
        run_flow(other, run_dir)
    assert calls() == []


def test_prefect_shows_the_tasks_by_run_and_stage_with_results_report_and_pictures(
    recipe: RecipeConfig, run_dir: Path, stand_in: Behave, calls: Calls
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    (run_dir / "reward_curve.png").write_bytes(b"\x89PNG")
    run_flow(recipe, run_dir)
    run_flow(recipe, run_dir)
    with get_client(sync_client=True) as client:
        recipes = FlowFilter(name=FlowFilterName(any_=["deepscaler-recipe"]))  # other tests run flows of their own
        flow_runs = client.read_flow_runs(flow_filter=recipes, limit=200)
        assert {flow_run.name for flow_run in flow_runs} == {"one"}
        artifacts = {artifact.key: artifact.data for artifact in client.read_artifacts()}
    assert artifacts["one-report"] == "# Report\n"
    assert '"pass@1": "0.300 [0.250, 0.350]"' in str(artifacts["one-results"])
    assert artifacts["one-reward-curve"] == "data:image/png;base64,iVBORw=="
    assert artifacts["one-train-only-progress"] == 100.0
