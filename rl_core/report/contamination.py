"""Problems that models were asked and the run also trained on: what is right there may be memory."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from rl_core.config import SFT
from rl_core.data.rows import comparable
from rl_core.report.document import Block, Paragraph
from rl_core.report.facts import Evaluation, Model, RunFacts
from rl_core.report.wording import listed
from rl_core.run_dir import RunDir

TRAINED = ("train", "pairs", SFT)  # what `prepare` writes and something is learned from


def count_trained(run: RunDir, models: Sequence[Model]) -> dict[str, int]:
    """How many problems of each benchmark, by its data set's digest, the run also trains on; empty without its data.

    Compared as training problems are with the test set: without white space, dollar signs and case.
    """
    files = [file for file in (run.data / f"{name}.parquet" for name in TRAINED) if file.is_file()]
    if not files:
        return {}
    trained = {comparable(problem) for file in files for problem in _problems(file)}
    asked = _evaluations(models)
    return {key: sum(comparable(row.problem) in trained for row in asked[key].problems) for key in asked}


def contamination(facts: RunFacts) -> list[Block]:
    """Which benchmarks share problems with the training, or that none does; nothing where it was not looked at."""
    asked = {key: one for key, one in _evaluations(facts.models).items() if key in facts.num_trained}
    if not asked:
        return []
    shared = [
        f"{facts.num_trained[key]:,} of {one.num_problems:,} of {one.benchmark}"
        for key, one in asked.items()
        if facts.num_trained[key]
    ]
    told = (
        f"Of these problems the run also trained on {listed(shared)}: what is right there may be memory. "
        if shared
        else "None of these problems is among those that the run trained on. "
    )
    return [Paragraph([told, "Problems are compared as text; what the base model was made from is not known here."])]


def _evaluations(models: Sequence[Model]) -> dict[str, Evaluation]:
    """One evaluation on each data set that any model was asked, by its digest."""
    return {one.dataset_digest: one for model in models for one in (model.evaluation, *model.further)}


def _problems(file: Path) -> list[str]:
    problems: list[str] = pq.read_table(file, columns=["problem"])["problem"].to_pylist()
    return problems
