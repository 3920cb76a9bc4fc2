"""What the documentation and the shipped files say is what the code knows."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from rl_core.config import AlgorithmConfig, load_config
from rl_core.config.algorithm import Aggregation, Baseline, KlEstimator, Objective
from rl_core.evaluation.benchmarks import BENCHMARKS, OF_THE_RUN
from rl_core.evaluation.protocols import PROTOCOLS
from rl_core.metrics import METRICS

PROJECT = Path(__file__).resolve().parents[1]
PRESETS = sorted((PROJECT / "configs").glob("*.yaml"))
ALGORITHMS = (PROJECT / "docs" / "algorithms.md").read_text(encoding="utf-8")
GLOSSARY = (PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8")
SOURCES = (PROJECT / "docs" / "presets.md").read_text(encoding="utf-8")
FROM_SOURCES = [preset for preset in PRESETS if preset.stem != "embedded"]  # whose numbers are the project's own
DECISIONS = PROJECT / "docs" / "decisions"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_shipped_preset_loads_and_is_named_after_its_file(preset: Path) -> None:
    assert load_config(preset).name == preset.stem


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_shipped_preset_is_in_the_readme(preset: Path) -> None:
    assert f"configs/{preset.name}" in (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("preset", FROM_SOURCES, ids=lambda path: path.stem)
def test_what_is_said_of_a_presets_numbers_is_what_it_sets(preset: Path) -> None:
    config = load_config(preset).model_dump(mode="json")
    rows = numbers_of(preset.stem)
    assert len(rows) > 20
    assert {field: value_of(config, field) for field in rows} == rows


def test_the_settings_that_make_each_algorithm_load_and_every_objective_and_aggregation_is_among_them() -> None:
    settings = [yaml.safe_load(cell) for cell in re.findall(r"^\|.*?\| `(\{.+?\})` \|", ALGORITHMS, re.MULTILINE)]
    made = [AlgorithmConfig(**each) for each in settings]
    assert {algorithm.objective for algorithm in made} == set(get_args(Objective))
    assert {algorithm.aggregation for algorithm in made} == set(get_args(Aggregation))
    assert {algorithm.baseline for algorithm in made} == set(get_args(Baseline))


def test_every_estimator_of_the_divergence_is_in_the_table_of_algorithms() -> None:
    assert set(re.findall(r"^\| `(k\d\+?)` \|", ALGORITHMS, re.MULTILINE)) == set(get_args(KlEstimator))


def test_the_page_on_evaluation_says_of_each_protocol_what_it_is_and_names_every_benchmark() -> None:
    page = (PROJECT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = {
        row[0]: row[1:]
        for row in re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \| (\S+) \| `(\w+)` \|", page, re.M)
    }
    fields = ("num_samples", "temperature", "top_p", "max_new_tokens")
    said = {
        name: {
            **{field: float(cell.replace(",", "")) for field, cell in zip(fields, cells, strict=False)},
            "verifier": cells[-1],
        }
        for name, cells in rows.items()
    }
    known = {name: {field: values[field] for field in (*fields, "verifier")} for name, values in PROTOCOLS.items()}
    assert said == known
    benchmarks = page.partition("## Benchmarks")[2].partition("## Intervals")[0]
    named = {
        name for cell in re.findall(r"^\| (`.+?`) \|", benchmarks, re.M) for name in re.findall(r"`([^`]+)`", cell)
    }
    assert named == {*BENCHMARKS, *OF_THE_RUN}


def test_the_glossary_and_the_table_of_metrics_know_the_same_names() -> None:
    known = {re.sub(r"^reward_(?!mean$)\w+_mean$", "reward_<name>_mean", name) for name in METRICS}
    assert glossary_of("metrics.jsonl") == known


def test_the_glossary_defines_every_name_of_an_evaluation_that_others_read() -> None:
    promised = {
        "model_digest",
        "benchmark",
        "dataset_digest",
        "protocol",
        "num_problems",
        "pass_at_1",
        "pass_at_k",
        "majority_at_k",
        "agreement_at_k",
        "response_tokens_mean",
        "truncated_fraction",
        "no_answer_fraction",
        "unscored_count",
    }
    assert glossary_of("Evaluation") == promised


def test_every_decision_is_in_the_index_and_short() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    pages = sorted(DECISIONS.glob("[0-9]*.md"))
    assert [page.name for page in pages] == re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index)
    assert {page.name: n for page in pages if (n := len(page.read_text(encoding="utf-8").splitlines())) > 40} == {}


def test_every_link_between_documents_leads_to_a_file() -> None:
    documents = [PROJECT / "CONTRIBUTING.md", *PROJECT.glob("docs/**/*.md")]
    links = {document: re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")) for document in documents}
    assert any(links.values())
    assert [(d.name, link) for d, found in links.items() for link in found if not (d.parent / link).exists()] == []


def numbers_of(preset: str) -> dict[str, Any]:
    """Fields and values of a preset's table in docs/presets.md."""
    body = re.search(rf"^## {preset}\n(.*?)(?=^## |\Z)", SOURCES, re.MULTILINE | re.DOTALL)
    assert body, f"docs/presets.md has a section `## {preset}`"
    rows = [line.split(" | ") for line in body[1].splitlines() if line.startswith("| `")]
    cells = [(row[0].strip("| `"), row[1]) for row in rows if len(row) == 3]
    return {field: yaml.safe_load(value) for field, value in cells}


def value_of(config: Any, field: str) -> Any:
    """What a dotted field says; `stages.*.x` is the list of every stage's."""
    name, _, rest = field.partition(".")
    if name == "*":
        return [value_of(item, rest) for item in config]
    return value_of(config[name], rest) if rest else config[name]


def glossary_of(section: str) -> set[str]:
    """Names in the first column of the tables of one section of docs/metrics.md."""
    body = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", GLOSSARY, re.MULTILINE | re.DOTALL)
    assert body, section
    cells = [line.split("|")[1] for line in body[1].splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
