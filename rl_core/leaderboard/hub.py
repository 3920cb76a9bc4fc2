"""Models on a hub as series: the revisions that a re-evaluation names, at the commits that they stand for now.

    <runs>/hub/revisions.json                           the commit of each revision when it was last looked at
    <runs>/hub/<owner>--<name>/<commit>/revision.json   which revision it was, and since when that is known
    <runs>/hub/<owner>--<name>/<commit>/<model digest>/ its evaluations

A branch that moves becomes another model; the commits that it stood for before stay in the series.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rl_core.config.models import PolicyConfig
from rl_core.config.reevaluation import HubModelConfig, HubModelsConfig, ReevaluationConfig
from rl_core.errors import MistakeError
from rl_core.leaderboard.models import BASE, Model, Series
from rl_core.manifest import read_json, write_json

SEEN = "revision.json"
SHORT = 8  # characters of a commit that name it


def resolve_revisions(runs: Path, config: ReevaluationConfig) -> None:
    """Ask the hubs which commit each revision stands for, and note it.

    Raises:
        MistakeError: there is no such model or revision, or it may not be read.
        ConnectionError: a hub did not answer as it should.
    """
    from rl_core.models.source import ModelFolder, find_model

    commits: dict[str, str] = {}
    for field, model in _named(config):
        policy = PolicyConfig(model_name=model.model_name, revision=model.revision, hub=model.hub)
        found = find_model(policy, field)
        assert not isinstance(found, ModelFolder), "the schema wants OWNER/NAME"
        if found.commit is None:
            raise MistakeError(
                f"{field}: {model.model_name} at {model.revision}: the hub names no commit for it, by which its "
                "evaluations are kept: name a commit as the revision, or take the model from a folder"
            )
        commits[_key(model)] = found.commit
        seen = _folder(runs, model.model_name) / found.commit / SEEN
        if not seen.is_file():
            seen.parent.mkdir(parents=True, exist_ok=True)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            write_json(seen, {**model.model_dump(mode="json"), "commit": found.commit, "seen_at": now})
    write_json(_revisions(runs), commits)


def hub_series(runs: Path, config: ReevaluationConfig) -> list[Series]:
    """The series of the models that are named, as far as their commits are known."""
    commits = read_json(_revisions(runs)) or {}
    return [
        Series(models.model_name, runs / "hub", tuple(_models(runs, models, commits))) for models in config.hub_models
    ]


def _models(runs: Path, models: HubModelsConfig, commits: dict[str, str]) -> Iterator[Model]:
    if models.base is not None and _key(models.base) in commits:
        yield _model(runs, models.base, "base", 0, commits[_key(models.base)])
    taken: set[str] = set()
    for revision in models.revisions:
        hub = HubModelConfig(model_name=models.model_name, revision=revision, hub=models.hub)
        now = [commits[_key(hub)]] if _key(hub) in commits else []
        for commit in [*_before(runs, hub, now), *now]:
            if commit not in taken:
                taken.add(commit)
                yield _model(runs, hub, "hub", len(taken), commit)


def _model(runs: Path, hub: HubModelConfig, kind: Literal["base", "hub"], position: int, commit: str) -> Model:
    output = _folder(runs, hub.model_name) / commit
    results = tuple(sorted(path for path in output.glob("*") if path.is_dir()))
    named = hub.revision if commit.startswith(hub.revision) else f"{hub.revision} at {commit[:SHORT]}"
    pinned = hub.model_copy(update={"revision": commit})
    name = f"{BASE}: {hub.model_name}" if kind == "base" else named
    return Model(kind, name, 0, position, None, output, results, commit, pinned)


def _before(runs: Path, hub: HubModelConfig, now: list[str]) -> list[str]:
    """The commits that a revision stood for before, the oldest first."""
    seen = [read_json(file) for file in _folder(runs, hub.model_name).glob(f"*/{SEEN}")]
    own = [note for note in seen if note and note["revision"] == hub.revision and note["commit"] not in now]
    return [note["commit"] for note in sorted(own, key=lambda note: note["seen_at"])]


def _named(config: ReevaluationConfig) -> Iterator[tuple[str, HubModelConfig]]:
    """Every revision that is named, and the setting that names it."""
    for index, models in enumerate(config.hub_models):
        if models.base is not None:
            yield f"hub_models.{index}.base.model_name", models.base
        for revision in models.revisions:
            yield (
                f"hub_models.{index}.model_name",
                HubModelConfig(model_name=models.model_name, revision=revision, hub=models.hub),
            )


def _folder(runs: Path, model_name: str) -> Path:
    return runs / "hub" / model_name.replace("/", "--")


def _revisions(runs: Path) -> Path:
    return runs / "hub" / "revisions.json"


def _key(model: HubModelConfig) -> str:
    return f"{model.hub}:{model.model_name}@{model.revision}"
