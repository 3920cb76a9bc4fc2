"""What a run was made from and how to make it again: data, protocol, seeds, versions, digests, command."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rl_core import __version__
from rl_core.config import dump_config
from rl_core.opening import short_path
from rl_core.part_keys import PartKeys
from rl_core.report.document import Block, Bullets, Code, Heading, Paragraph, Preformatted, Table
from rl_core.report.facts import RunFacts
from rl_core.report.wording import ABSENT, count, listed, plain

ALL_TEXT = frozenset(range(4))


def data(facts: RunFacts) -> list[Block]:
    """Rows of each split, what was set aside and why, and where it all came from."""
    title = Heading(2, "Data")
    if facts.data is None:
        return [title, Paragraph(["The data has not been prepared yet."])]
    rows, read = facts.data.get("rows", {}), facts.data.get("rows_read", {})
    set_aside, digests = facts.data.get("set_aside", {}), facts.data.get("dataset_digests", {})
    table = [
        [
            split,
            count(read.get(split)),
            count(sum(set_aside[split].values())) if split in set_aside else ABSENT,
            count(kept),
            Code(str(digests.get(split, ABSENT))),
        ]
        for split, kept in rows.items()
    ]
    reasons = [[split, reason, count(number)] for split, found in set_aside.items() for reason, number in found.items()]
    headers = ["split", "rows read", "set aside", "kept", "digest"]
    blocks: list[Block] = [title, Table(headers, table, frozenset({0, 4}))]
    if "probe" in rows:
        blocks.append(Paragraph(["The probe is drawn from the training problems; it is never trained on."]))
    if reasons:
        table_of_reasons = Table(["split", "set aside because", "rows"], reasons, frozenset({0, 1}))
        listing = "Every one of them is in data/set_aside.jsonl."
        blocks += [Heading(3, "Set aside"), Paragraph([listing]), table_of_reasons]
    return [*blocks, *_origins(facts)]


def protocol(facts: RunFacts) -> list[Block]:
    """How every model was asked and marked, and the seeds."""
    evaluation = facts.config.evaluation
    measured = facts.models[0].evaluation.protocol if facts.models else {}
    settings: Mapping[str, Any] = measured or evaluation.protocol.model_dump(mode="json")
    rows = [[name, Code(plain(value))] for name, value in settings.items()]
    if "prompt_template" not in settings:
        rows.append(["prompt_template", Code(facts.config.data.prompt_template)])
    seeds = (
        f"The seed of the run is {facts.config.seed}, that of the evaluation {settings.get('seed', ABSENT)}; every "
        "other is derived from them, the purpose, the step and the index."
    )
    return [Heading(2, "Protocol and seeds"), Table(["setting", "value"], rows, ALL_TEXT), Paragraph([seeds])]


def provenance(facts: RunFacts) -> list[Block]:
    """Versions, digests, the command, and the whole configuration."""
    root = short_path(facts.root)
    command = shlex.join(
        ["python", "-m", "flows.deepscaler_recipe", "--config", f"{root}/config.yaml", "--run-dir", f"{root}-again"]
    )
    return [
        Heading(2, "Digests and versions"),
        Table(["part", "digest of its content", "made (UTC)"], _digests(facts), ALL_TEXT),
        *_versions(facts),
        Heading(2, "To repeat it"),
        Preformatted(command),
        Paragraph(["The configuration, every value of it (", Code("config.yaml"), "):"]),
        Preformatted(dump_config(facts.config).rstrip("\n")),
    ]


def _origins(facts: RunFacts) -> list[Block]:
    """One line for each data set that was fetched: repository and commit, or path, and its files."""
    sources = (facts.sources or facts.data or {}).get("sources", {})
    items: list[Sequence[str]] = []
    for split, origin in sources.items():
        if origin.get("source") == "embedded":
            items.append([f"{split}: made by the project itself, from the seed of the run."])
            continue
        named = [f"{key}: {value}" for key, value in origin.items() if key not in ("files", "source")]
        files = [part for file in origin.get("files", ()) for part in (", ", *_file(file))]
        items.append([f"{split}: {origin.get('source', '')}, ", Code(", ".join(named)), *files, "."])
    return [Heading(3, "Where it comes from"), Bullets(items)] if items else []


def _file(file: Mapping[str, Any]) -> list[str]:
    size = f" ({file.get('bytes', 0):,} bytes, sha256 "
    return [Code(str(file.get("name"))), size, Code(str(file.get("digest"))), ")"]


def _digests(facts: RunFacts) -> list[list[str]]:
    """The configuration and every finished part."""
    parts = {"sources": facts.sources, "data": facts.data, "base model": facts.base}
    parts |= {"fine-tuned model": facts.fine_tuning.model} if facts.fine_tuning else {}
    parts |= {f"model after {stage.name}": stage.model for stage in facts.stages}
    rows = [
        [name, Code(str(manifest.get("digest", ABSENT))), str(manifest.get("created_at", ABSENT))]
        for name, manifest in parts.items()
        if manifest
    ]
    tests = {model.evaluation.dataset_digest for model in facts.models} - {""}
    rows += [["data set of the evaluations", Code(digest), ""] for digest in sorted(tests)]
    return [["configuration", Code(PartKeys(facts.config).recipe()), ""], *rows]


def _versions(facts: RunFacts) -> list[Block]:
    """What was installed when each part was made; more than one version where that changed in between."""
    found: dict[str, set[str]] = {"deepscaler-recipe (this report)": {__version__}}
    tuned = facts.fine_tuning.model if facts.fine_tuning else None
    for manifest in (facts.sources, facts.data, facts.base, tuned, *[stage.model for stage in facts.stages]):
        for package, version in ((manifest or {}).get("versions") or {}).items():
            found.setdefault(package, set()).add(str(version))
    rows = [[package, listed(sorted(versions))] for package, versions in found.items()]
    return [Table(["package", "version"], rows, ALL_TEXT)]
