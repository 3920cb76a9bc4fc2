"""The models under a folder of runs, as series of one training each: found by looking, in the order of training.

A run's series is its base model, what each stage ended with (`hf/`), and each checkpoint that a stage saved on the way.
Such a checkpoint becomes a model only when it is converted, and so has no model digest before. That digest is noted
where its evaluations are, in evaluations/<model digest>/model.json, so that they are found again when the converted
folder is gone, and still have their place in the series when the checkpoint itself is. Reads JSON and YAML alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rl_core.config import SFT, StageIndex, load_config
from rl_core.config.reevaluation import HubModelConfig
from rl_core.errors import MistakeError
from rl_core.manifest import read_json, read_manifest, write_json
from rl_core.plan import step_folders
from rl_core.run_dir import RunDir

BASE = "base"
NOTE = "model.json"  # in the folder of a model's evaluations: which checkpoint it was converted from

Kind = Literal["base", "stage", "checkpoint", "hub"]
Note = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a series."""

    kind: Kind
    stage: str  # its name; of a base model "base", of one on a hub the revision
    step: int  # of its stage
    position: int  # steps of training since the base model; of revisions on a hub their number in the list
    folder: Path | None  # Hugging Face folder, or checkpoint that is converted first; None: on a hub, or removed
    output: Path  # where its evaluations are kept, below its digest
    results: tuple[Path, ...]  # folders of its evaluations; more than one where it was converted to files that differ
    source_digest: str = ""  # of the checkpoint, or the commit on the hub
    hub: HubModelConfig | None = None  # of a model on a hub

    @property
    def name(self) -> str:
        """As in the terminal, in Prefect and on the page: "base", "8k", "8k step 20", a revision on a hub."""
        return f"{self.stage} step {self.step}" if self.kind == "checkpoint" else self.stage

    @property
    def evaluations(self) -> list[Path]:
        """The results of every evaluation of it."""
        return [file for folder in self.results for file in sorted(folder.glob("*.json")) if file.name != NOTE]

    @property
    def is_there(self) -> bool:
        """Whether it can be asked: its files are on this machine or on a hub, and were not removed."""
        return self.folder is not None or self.hub is not None


@dataclass(frozen=True, slots=True)
class Series:
    """Models that come of each other, in the order in which they were made."""

    name: str
    root: Path
    models: tuple[Model, ...]
    run: RunDir | None = None  # None: on a hub


def find_series(runs: Path) -> tuple[list[Series], list[str]]:
    """The series of every run in a folder, or of the run that the folder is; and what was left out, a sentence each.

    Raises:
        MistakeError: there is no such folder.
    """
    if not runs.is_dir():
        raise MistakeError(f"--runs {runs}: no such folder: give the one that holds the runs, or one run's")
    found, left_out = [], []
    for root in [runs] if is_run(runs) else sorted(filter(is_run, runs.iterdir())):
        try:
            found.append(series_of(RunDir(root.resolve(), load_config(root / "config.yaml"))))
        except MistakeError as mistake:
            left_out.append(f"{root.name}: {mistake}")
    return found, left_out


def stage_indices(run: RunDir) -> list[StageIndex]:
    """The stages of a run's policy: the supervised one, where the recipe has it, and those on rewards."""
    return [*([SFT] if run.config.sft else []), *range(len(run.config.stages))]


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "config.yaml").is_file() and (folder / "config.digest").is_file()


def series_of(run: RunDir) -> Series:
    """The models that a run holds now, and those that were evaluated before they went."""
    notes = list(_notes(run.root))
    models, start = list(_base(run)), 0
    for index in stage_indices(run):
        summary = read_json(run.stage(index).summary) or {}
        ended = _ended(run, index, start, summary, notes)
        known = {ended[0].step} if ended else set()
        on_the_way = [each for each in _checkpoints(run, index, start, notes) if each.step not in known]
        models += sorted([*on_the_way, *ended], key=lambda model: model.step)
        start += int(summary.get("steps", _planned_steps(run, index)))
    return Series(run.root.name, run.root, tuple(models), run)


def write_note(model: Model, model_digest: str) -> None:
    """Note which checkpoint a model was converted from, beside its evaluations."""
    folder = model.output / model_digest
    folder.mkdir(parents=True, exist_ok=True)
    note = {
        "model_digest": model_digest,
        "source_digest": model.source_digest,
        "stage": model.stage,
        "step": model.step,
    }
    write_json(folder / NOTE, note)


def _base(run: RunDir) -> Iterator[Model]:
    manifest = read_manifest(run.base)
    if manifest is not None:
        yield Model("base", BASE, 0, 0, run.base, *_results(run, [manifest["digest"]]))


def _ended(run: RunDir, index: StageIndex, start: int, summary: dict[str, Any], notes: Sequence[Note]) -> list[Model]:
    """What a stage ended with, in a list; none where that is not converted yet."""
    name, files = run.stage_name(index), run.stage(index)
    manifest = read_manifest(files.hf)
    if manifest is None:
        return []
    checkpoint = Path(summary.get("checkpoint") or files.checkpoint(_planned_steps(run, index)).name)
    step, source = _step(checkpoint), _digest(files.root / checkpoint)
    digests = dict.fromkeys([manifest["digest"], *_noted(notes, name, step, source)])
    return [Model("stage", name, step, start + step, files.hf, *_results(run, digests), source)]


def _checkpoints(run: RunDir, index: StageIndex, start: int, notes: Sequence[Note]) -> Iterator[Model]:
    """Every checkpoint of a stage, whether it is there or was evaluated before it went."""
    name = run.stage_name(index)
    folders = {_step(folder): folder for folder in step_folders(run.stage(index).checkpoints)}
    for step in sorted(folders.keys() | {note["step"] for note in notes if note["stage"] == name}):
        source = _digest(folders[step]) if step in folders else ""
        digests = _noted(notes, name, step, source)
        if source or digests:
            yield Model("checkpoint", name, step, start + step, folders.get(step), *_results(run, digests), source)


def _results(run: RunDir, digests: Iterable[str]) -> tuple[Path, tuple[Path, ...]]:
    """Where the evaluations of models are kept, and the folders of those with these digests."""
    output = run.root / "evaluations"
    return output, tuple(output / digest for digest in digests)


def _planned_steps(run: RunDir, index: StageIndex) -> int:
    """Of a stage whose summary does not say; a supervised one has as many as its data gives: not known here."""
    return 0 if index == SFT else run.config.stages[index].steps


def _noted(notes: Sequence[Note], stage: str, step: int, source_digest: str) -> tuple[str, ...]:
    """Digests of the models that were converted from a checkpoint; from any of that step where it is gone."""
    own = [note for note in notes if (note["stage"], note["step"]) == (stage, step)]
    return tuple(note["model_digest"] for note in own if source_digest in ("", note["source_digest"]))


def _digest(folder: Path) -> str:
    """Of the files of a checkpoint; empty where there is none."""
    manifest = read_manifest(folder)
    return "" if manifest is None else str(manifest["digest"])


def _notes(root: Path) -> Iterator[Note]:
    for file in sorted((root / "evaluations").glob(f"*/{NOTE}")):
        note = read_json(file)
        if isinstance(note, dict):
            yield note


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))
