"""The stage `publish`: the model of a stage, its card and its evaluations into a repository on the hub."""

from datetime import UTC, datetime
from pathlib import Path

from rl_core.errors import MistakeError
from rl_core.manifest import MANIFEST, write_json
from rl_core.plan import DONE, hf_part, publish_part
from rl_core.publishing.account import token
from rl_core.publishing.card import card
from rl_core.publishing.license import license_of
from rl_core.publishing.metadata import evaluations_of, metadata
from rl_core.report import write_report
from rl_core.report.collect import collect
from rl_core.report.facts import Model, RunFacts
from rl_core.run_dir import RunDir

CARD = "README.md"
NOT_PUBLISHED = (MANIFEST, CARD)  # the one describes the folder with its own card, which the published one replaces
RESULTS = "evaluations"


def publish_model(run: RunDir) -> None:
    """Publish the model; return at once when that was done, and go on where it was interrupted.

    Raises:
        MistakeError: the recipe does not publish, the model is not there yet, or the hub refuses.
        ConnectionError: the hub did not answer as it should; trying again may help.
    """
    publish = run.config.publish
    if publish is None:
        raise MistakeError("publish.repo is not set: give it, as publish.repo=OWNER/NAME")
    index = run.published_stage
    name = run.config.stages[index].name
    part = publish_part(run)
    if part.state == DONE:
        print(f"{publish.repo}: published already, as commit {part.digest}")
        return
    model = hf_part(run, index)
    if model.state != DONE:
        raise MistakeError(
            f"publish: stage {name} has no model yet: run `python -m rl_core convert --stage {index}` first"
        )
    secret = token()
    files = files_to_publish(run)
    from rl_core.publishing.upload import upload

    message = f"{run.config.name}: the model after stage {name} (digest {model.digest})"
    commit, url = upload(publish, files, token=secret, message=message)
    noted = {"repo": publish.repo, "revision": publish.revision, "private": publish.private, "commit": commit}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(run.published, {"key": part.key, "model_digest": model.digest, **noted, "url": url, "published_at": now})
    print(f"published {url}")
    write_report(run)  # so that it says where


def files_to_publish(run: RunDir) -> dict[str, bytes | Path]:
    """Everything that goes into the repository, by its path there: a file of the run, or what is made for it."""
    index = run.published_stage
    folder = run.stage(index).hf
    files: dict[str, bytes | Path] = {
        file.relative_to(folder).as_posix(): file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).as_posix() not in NOT_PUBLISHED
    }
    facts = collect(run)
    own, shown = evaluations_of(facts, run.config.stages[index].name)
    license_name = license_of(run.config)
    text = metadata(facts, own, license_name) + "\n" + card(facts, facts.stages[index], license_name)
    return {**files, CARD: text.encode(), **_results(facts, shown)}


def _results(facts: RunFacts, models: list[Model]) -> dict[str, bytes | Path]:
    if facts.config.publish is None or not facts.config.publish.results:
        return {}
    return {
        f"{RESULTS}/{model.name}/{evaluation.file.name}": evaluation.file
        for model in models
        for evaluation in (model.evaluation, *model.further)
    }
