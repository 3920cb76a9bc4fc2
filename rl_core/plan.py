"""What a recipe consists of, and how much of it a run directory already holds.

Each part of a run (its sources, data, base model, what the recipe makes before its stages, and for each stage its
training, its conversion and its evaluation) stands in one place under one key; see `run_dir`. Used by `--plan`, by
`opening` and by the tasks. Reads files only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rl_core.config import SFT, StageIndex
from rl_core.evaluation.benchmarks import OF_THE_RUN, benchmark_name
from rl_core.manifest import MANIFEST, digest_of, read_json, read_manifest
from rl_core.models.critic_source import fetched_critic
from rl_core.models.reward_source import fetched_reward_model
from rl_core.part_keys import PART_VERSION
from rl_core.run_dir import RunDir

State = Literal["done", "under way", "to do", "other recipe"]
DONE: State = "done"
UNDER_WAY: State = "under way"
TO_DO: State = "to do"
OTHER_RECIPE: State = "other recipe"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a run as it stands on disk."""

    name: str  # as in the terminal and in Prefect: "data", "train 8k", "evaluate base"
    path: Path
    key: str  # digest of everything that decides its content
    state: State
    digest: str = ""  # of its content, once it is done
    step: int | None = None  # of a training under way: its last checkpoint

    @property
    def status(self) -> str:
        """The state in words for a person."""
        if self.state == UNDER_WAY:
            return f"under way: continues after step {self.step}"
        return "made by another recipe" if self.state == OTHER_RECIPE else self.state


def all_parts(run: RunDir) -> list[Part]:
    """Every part of the run, in the order in which the recipe makes them."""
    parts = [sources_part(run), *benchmark_parts(run), data_part(run), *taken_parts(run), base_part(run)]
    parts += evaluation_parts(run, None)
    if run.config.sft is not None:
        parts += _policy_parts(run, SFT)
    if run.config.pairs is not None:
        parts += [pairs_part(run), trained_reward_model_part(run)]
    for index in range(len(run.config.stages)):
        parts += _policy_parts(run, index)
    return [*parts, report_part(run, parts), *([publish_part(run)] if run.config.publish else [])]


def _policy_parts(run: RunDir, index: StageIndex) -> list[Part]:
    return [training_part(run, index), hf_part(run, index), *evaluation_parts(run, index)]


def sources_part(run: RunDir) -> Part:
    return _folder("download", run.sources, run.keys.sources())


def benchmark_parts(run: RunDir) -> list[Part]:
    """The benchmarks that are not of the run's own data."""
    others = [benchmark for benchmark in run.config.evaluation.benchmarks if benchmark not in OF_THE_RUN]
    return [
        _folder(f"benchmark {benchmark_name(benchmark)}", run.benchmark(benchmark), run.keys.benchmark(benchmark))
        for benchmark in others
    ]


def data_part(run: RunDir) -> Part:
    return _folder("data", run.data, run.keys.data())


def base_part(run: RunDir) -> Part:
    return _folder("base model", run.base, run.keys.base())


def taken_parts(run: RunDir) -> list[Part]:
    """What is fetched with the first policy: a reward model and a critic's model, where the recipe's are of a hub."""
    parts = []
    if fetched_reward_model(run.config) is not None:
        parts.append(_folder("reward model", run.reward_model, run.keys.reward_model()))
    if fetched_critic(run.config) is not None:
        parts.append(critic_part(run))
    return parts


def critic_part(run: RunDir) -> Part:
    """The model that the critic starts from, where it is of a hub."""
    return _folder("critic", run.critic, run.keys.critic())


def pairs_part(run: RunDir) -> Part:
    """The preference pairs, where the recipe has any."""
    return _folder("pairs", run.pairs, run.keys.pairs())


def trained_reward_model_part(run: RunDir) -> Part:
    """The reward model that the run trains: done when it is converted."""
    model, training = _folder("reward model", run.reward_model, run.keys.reward_model()), run.reward_model_training
    newest = newest_checkpoint(training.checkpoints)
    if model.state != TO_DO or newest is None:
        return model
    step, manifest = newest
    if manifest.get("config_digest") != run.keys.reward_model_training():
        return Part(model.name, training.root, model.key, OTHER_RECIPE)
    return Part(model.name, training.root, model.key, UNDER_WAY, step=step)


def training_part(run: RunDir, index: StageIndex) -> Part:
    """The training of a stage: done when its summary says so and the checkpoint that it names is whole."""
    stage, key = run.stage(index), run.keys.stage(index)
    name = f"train {run.stage_name(index)}"
    newest = newest_checkpoint(stage.checkpoints)
    if newest is None:
        return Part(name, stage.root, key, TO_DO)
    step, manifest = newest
    if manifest.get("config_digest") != key:
        return Part(name, stage.root, key, OTHER_RECIPE)
    summary = read_json(stage.summary) or {}
    # How many steps `sft` has depends on its data as well, and is known once they are done.
    last = summary.get("steps") if index == SFT else run.config.stages[index].steps
    if summary.get("status") == "complete" and step == last:
        return Part(name, stage.root, key, DONE, str(manifest.get("digest", "")))
    return Part(name, stage.root, key, UNDER_WAY, step=step)


def hf_part(run: RunDir, index: StageIndex) -> Part:
    return _folder(f"convert {run.stage_name(index)}", run.stage(index).hf, run.keys.hf(index))


def evaluation_parts(run: RunDir, index: StageIndex | None) -> list[Part]:
    """The evaluations of one model, the first benchmark's first."""
    return [evaluation_part(run, index, benchmark) for benchmark in run.config.evaluation.benchmarks]


def evaluations_part(run: RunDir, index: StageIndex | None) -> Part:
    """All evaluations of one model as the one piece of work that makes them: done when each of them is."""
    first, *further = evaluation_parts(run, index)
    if not further:
        return first
    every = [first, *further]
    state = DONE if all(part.state == DONE for part in every) else TO_DO
    digest = digest_of([part.digest for part in every]) if state == DONE else ""
    return Part(first.name, first.path, digest_of([part.key for part in every]), state, digest)


def evaluation_part(run: RunDir, index: StageIndex | None, benchmark: str | None = None) -> Part:
    """The evaluation of a stage's converted model, or of the base model (None), on a benchmark (None: the first)."""
    name = "evaluate base" if index is None else f"evaluate {run.stage_name(index)}"
    if benchmark not in (None, run.config.evaluation.benchmark):
        name = f"{name} on {benchmark_name(benchmark)}"
    benchmark = benchmark or run.config.evaluation.benchmark
    model = base_part(run) if index is None else hf_part(run, index)
    protocol = run.evaluation("model", benchmark).name
    problems = run.keys.data() if benchmark in OF_THE_RUN else run.keys.benchmark(benchmark)
    key = digest_of(["evaluation", PART_VERSION["evaluation"], protocol, model.key, problems])
    if model.state != DONE:
        return Part(name, run.root / "evaluations", key, TO_DO)
    path = run.evaluation(model.digest, benchmark)
    results = read_json(path)
    asked = _dataset_digest(run, benchmark)
    if not isinstance(results, dict) or asked not in (None, results.get("dataset_digest", asked)):
        return Part(name, path, key, TO_DO)
    return Part(name, path, key, DONE, digest_of(results))


def _dataset_digest(run: RunDir, benchmark: str) -> str | None:
    """Of the problems that a benchmark has in this run, as noted when they were taken; None: not noted."""
    manifest = read_json(run.problems(benchmark).parent / MANIFEST) or {}
    digest: str | None = manifest.get("dataset_digests", {}).get(benchmark_name(benchmark))
    return digest


def report_part(run: RunDir, before: list[Part]) -> Part:
    """The report: done when it is newer than everything that it tells of."""
    key = digest_of(["report", *[[part.key, part.digest] for part in before]])
    evaluations = [part.path for part in before if part.path.suffix == ".json"]
    done = (
        run.report.is_file()
        and all(part.state == DONE for part in before)
        and all(path.stat().st_mtime <= run.report.stat().st_mtime for path in evaluations)
    )
    return Part("report", run.report, key, DONE if done else TO_DO)


def publish_part(run: RunDir) -> Part:
    """The model on the hub: done when it is noted that this very model went to the repository that is asked for."""
    publish, index = run.config.publish, run.published_stage
    assert publish is not None, "asked only where the recipe publishes"
    model = hf_part(run, index)
    key = digest_of(["publish", publish.model_dump(mode="json"), model.key])
    noted = read_json(run.published) or {}
    done = model.state == DONE and noted.get("key") == key and noted.get("model_digest") == model.digest
    return Part("publish", run.published, key, DONE if done else TO_DO, str(noted.get("commit", "")) if done else "")


def newest_checkpoint(checkpoints: Path) -> tuple[int, dict[str, Any]] | None:
    """Step and manifest of the last whole checkpoint in a folder of `step_000010`s; None when there is none."""
    for folder in sorted(step_folders(checkpoints), reverse=True):
        manifest = read_manifest(folder)
        if manifest is not None:
            return int(folder.name.removeprefix("step_")), manifest
    return None


def step_folders(checkpoints: Path) -> Iterator[Path]:
    """The folders of checkpoints that were finished, in no order."""
    for folder in checkpoints.glob("step_*"):
        if folder.name.removeprefix("step_").isdigit() and (folder / MANIFEST).is_file():
            yield folder


def _folder(name: str, path: Path, key: str) -> Part:
    manifest = read_manifest(path)
    if manifest is None:
        return Part(name, path, key, TO_DO)
    if manifest.get("config_digest") != key:
        return Part(name, path, key, OTHER_RECIPE)
    return Part(name, path, key, DONE, str(manifest.get("digest", "")))
