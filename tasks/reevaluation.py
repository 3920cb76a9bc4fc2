"""What a re-evaluation starts: a look at the hubs, one model after the other, and the leaderboard of all of them."""

import json
import shutil
from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.leaderboard.alarms import Alarm, read_alarms
from rl_core.leaderboard.asked import benchmark_of, own_settings, results_name
from rl_core.leaderboard.files import BoardFiles
from rl_core.leaderboard.models import Model, Series, stage_indices, write_note
from rl_core.manifest import read_json, read_manifest
from tasks.failures import StageFailed
from tasks.process import run_command
from tasks.publishing import key_of, publish_leaderboard
from tasks.recipe_task import DOWNLOAD_DELAYS, STAGE_DELAYS, may_pass


@task(
    name="look at the hubs",
    task_run_name="hubs: which commits",
    retries=len(DOWNLOAD_DELAYS),
    retry_delay_seconds=DOWNLOAD_DELAYS,
    retry_condition_fn=may_pass,
)
def resolve_revisions(files: BoardFiles) -> None:
    """Find out which commit each named revision of a hub model stands for now."""
    _run(files, "hubs", ["revisions", "--config", str(files.config), "--runs", str(files.runs)])


@task(
    name="evaluate a model",
    task_run_name="{series.name}: evaluate {model.name}",
    retries=len(STAGE_DELAYS),
    retry_delay_seconds=STAGE_DELAYS,
    retry_condition_fn=may_pass,
)
def evaluate_model(files: BoardFiles, series: Series, model: Model, config: ReevaluationConfig) -> None:
    """Ask one model; a checkpoint is converted first, and its converted folder removed when that is done."""
    name = f"{series.name}: evaluate {model.name}"
    folder, digest = model.folder, "*"
    if model.kind == "checkpoint":
        folder = _convert(files, series, model)
    if folder is not None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise FileNotFoundError(f"{folder} does not hold the model any more")
        digest = str(manifest["digest"])
    _run(files, name, _evaluate(series, model, folder, config))
    result = next(model.output.glob(f"{digest}/{results_name(series, config)}"), None)
    if result is None:
        raise StageFailed(f"{name}: its process ended well, but left no results in {model.output}")
    if model.kind == "checkpoint" and folder is not None and not config.keep_converted:
        shutil.rmtree(folder)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    pass_at_1 = read_json(result)["pass_at_1"]
    get_run_logger().info("pass@1 %(value).3f (95 %% from %(low).3f to %(high).3f)", pass_at_1)


@task(
    name="write leaderboard",
    task_run_name="leaderboard of {files.runs.name}",
    retries=len(STAGE_DELAYS),
    retry_delay_seconds=STAGE_DELAYS,
    retry_condition_fn=may_pass,
)
def write_leaderboard(files: BoardFiles) -> list[Alarm]:
    """Write the leaderboard, show it in Prefect, and return the regressions on it."""
    _run(files, "leaderboard", ["leaderboard", "--config", str(files.config), "--runs", str(files.runs)])
    publish_leaderboard(files)
    return read_alarms(files.alarms)


def _convert(files: BoardFiles, series: Series, model: Model) -> Path:
    """The checkpoint as a Hugging Face folder, its digest noted."""
    run = series.run
    assert run is not None, "checkpoints are of runs"
    index = next(each for each in stage_indices(run) if run.stage_name(each) == model.stage)
    folder = run.stage(index).converted(model.step)
    place = ["--config", str(run.config_file), "--run-dir", str(run.root), "--stage", str(index)]
    target = ["--step", str(model.step), "--hf-ckpt-path", str(folder)]
    _run(files, f"{series.name}: convert {model.name}", ["convert", *place, *target])
    manifest = read_manifest(folder)
    if manifest is None:
        raise StageFailed(f"{series.name}: convert {model.name}: its process ended well, but {folder} is not complete")
    write_note(model, manifest["digest"])
    return folder


def _evaluate(series: Series, model: Model, folder: Path | None, config: ReevaluationConfig) -> list[str]:
    """The arguments of the command that asks the model in `folder`, or one on a hub."""
    given = own_settings(config)
    overrides = []
    if config.protocol is not None:
        overrides.append(f"evaluation.protocol={json.dumps(config.protocol.model_dump(mode='json'))}")
    if "benchmark_folder" in given:
        overrides.append(f"evaluation.benchmark_folder={json.dumps(given['benchmark_folder'])}")
    recipe = [] if series.run is None else ["--config", str(series.run.config_file)]
    asked = ["--data-name", benchmark_of(series, config), "--output", str(model.output)]
    if folder is not None:
        return ["evaluate", "--model-dir", str(folder), *recipe, *asked, *overrides]
    assert model.hub is not None, "a model without a folder is on a hub"
    overrides += [f"policy.revision={json.dumps(model.hub.revision)}", f"policy.hub={model.hub.hub}"]
    return ["evaluate", "--model-dir", model.hub.model_name, *asked, *overrides]


def _run(files: BoardFiles, name: str, arguments: list[str]) -> None:
    run_command(name, arguments, log=files.logs / f"{key_of(name)}.log", key=key_of(f"reevaluate {name} progress"))
