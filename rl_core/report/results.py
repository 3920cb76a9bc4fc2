"""The evaluated models side by side, and responses of the last of them to read."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from rl_core.report.collect import read_samples
from rl_core.report.compare import change, is_right
from rl_core.report.document import Block, Code, Heading, Paragraph, Preformatted, Table
from rl_core.report.facts import Evaluation, Interval, Model, ProblemRow, RunFacts, Sample
from rl_core.report.wording import ABSENT, count, interval, percent, printable, tokens

BY_K: tuple[tuple[str, Callable[[Evaluation], Mapping[int, Interval]]], ...] = (
    ("pass", lambda evaluation: evaluation.pass_at_k),
    ("majority", lambda evaluation: evaluation.majority_at_k),
    ("agreement", lambda evaluation: evaluation.agreement_at_k),
)


def results_table(facts: RunFacts) -> list[Block]:
    """One column for each evaluated model."""
    models = facts.models
    if not models:
        return [Paragraph(["No model has been evaluated yet."])]
    evaluations = [model.evaluation for model in models]
    rows = [
        ["pass@1", *[interval(evaluation.pass_at_1) for evaluation in evaluations]],
        *_changes(evaluations, models[0].name),
        *_rows_by_k(evaluations),
        ["tokens of a response, mean", *[tokens(evaluation.response_tokens_mean) for evaluation in evaluations]],
        ["cut off by the limit", *[percent(evaluation.truncated_fraction) for evaluation in evaluations]],
        ["without an answer", *[percent(evaluation.no_answer_fraction) for evaluation in evaluations]],
        ["unscored responses", *[count(evaluation.unscored_count) for evaluation in evaluations]],
    ]
    told = (
        f"{evaluations[0].num_problems:,} problems of {evaluations[0].benchmark}, "
        f"{evaluations[0].protocol.get('num_samples', '?')} responses to each, every model under the same protocol. In "
        "brackets: 95 % intervals over problems and samples."
    )
    return [Paragraph([told]), Table(["", *[_title(model) for model in models]], rows)]


def further_benchmarks(facts: RunFacts) -> list[Block]:
    """Every model on what else it was asked, by the same metrics; nothing where none was asked anything else."""
    models = facts.models
    asked = {_asked(evaluation): evaluation for model in models for evaluation in model.further}
    if not asked:
        return []
    rows = []
    for name, example in asked.items():
        found = [next((one for one in model.further if _asked(one) == name), None) for model in models]
        rows.append([_benchmark(example), *[interval(one.pass_at_1) if one else ABSENT for one in found]])
        first = found[0]
        if first is not None and any(found[1:]):
            changes = [change(first, one) if one else None for one in found[1:]]
            label = f"change from {models[0].name}, paired"
            rows.append([label, ABSENT, *[interval(value, signed=True) for value in changes]])
        rows += _rows_by_k(found)
    told = "Beside a benchmark's name pass@1, under the protocol that is named with it, the same for every model."
    headers = ["", *[_title(model) for model in models]]
    return [Heading(3, "Further benchmarks"), Paragraph([told]), Table(headers, rows)]


def _asked(evaluation: Evaluation) -> str:
    """Benchmark and digest of the protocol: what the file is named after."""
    return evaluation.file.stem


def _benchmark(evaluation: Evaluation) -> str:
    """The benchmark with what a reader needs of its protocol."""
    protocol = evaluation.protocol
    return (
        f"{evaluation.benchmark}, {evaluation.num_problems:,} problems x {protocol.get('num_samples', '?')}, T "
        f"{protocol.get('temperature', '?')}, {protocol.get('max_new_tokens', '?')} tokens"
    )


def _changes(evaluations: Sequence[Evaluation], first: str) -> list[list[str]]:
    """By how much each model differs from the first, and, where that is another, from the one before it."""
    first_to_each = [None, *[change(evaluations[0], after) for after in evaluations[1:]]]
    each_to_next = [None, *[change(before, after) for before, after in pairwise(evaluations)]]
    rows = [[f"change from {first}, paired", *[interval(value, signed=True) for value in first_to_each]]]
    if len(evaluations) > 2:
        rows.append(["change from the model before, paired", *[interval(value, signed=True) for value in each_to_next]])
    return rows if len(evaluations) > 1 else []


def responses(facts: RunFacts) -> list[Block]:
    """A right, a wrong and a cut off response of the last evaluated model, as it wrote them."""
    models = [model for model in facts.models if model.evaluation.samples]
    if not models:
        return []
    model = models[-1]
    problems = {row.index: row for row in model.evaluation.problems}
    samples = read_samples(model.evaluation)
    kinds: dict[str, Callable[[Sample], bool]] = {
        "right": is_right,
        "wrong": lambda sample: sample.reward is not None and not is_right(sample) and not sample.truncated,
        "cut off": lambda sample: sample.truncated,
    }
    blocks: list[Block] = [
        Heading(2, "Responses to read"),
        Paragraph([f"Of the model {model.name}: the first of each kind, by number of problem and sample."]),
    ]
    for kind, is_kind in kinds.items():
        found = next((sample for sample in samples if is_kind(sample)), None)
        blocks += _response(kind, found, problems.get(found.index) if found else None)
    return blocks


def _rows_by_k(evaluations: Sequence[Evaluation | None]) -> list[list[str]]:
    rows = []
    for name, values in BY_K:
        by_k = [values(evaluation) if evaluation else {} for evaluation in evaluations]
        ks = sorted({k for of_model in by_k for k in of_model})
        for k in (k for k in ks if k > 1 and (k.bit_count() == 1 or k == ks[-1])):  # powers of two, and the most
            rows.append([f"{name}@{k}", *[interval(of_model.get(k)) for of_model in by_k]])
    return rows


def _title(model: Model) -> str:
    return f"{model.name} (step {model.cumulative_step})" if model.cumulative_step else model.name


def _response(kind: str, sample: Sample | None, problem: ProblemRow | None) -> list[Block]:
    title = Heading(3, kind.capitalize())
    if sample is None:
        return [title, Paragraph([f"No response is {kind}."])]
    expected = [" Expected: ", Code(printable(problem.answer)), "."] if problem else []
    extracted = Code(printable(sample.extracted)) if sample.extracted is not None else "none"
    facts = f"Problem {sample.index}, sample {sample.sample}, {sample.response_tokens:,} tokens."
    asked: list[Block] = [Preformatted(printable(problem.problem))] if problem else []
    return [
        title,
        Paragraph([facts, *expected, " Answer found: ", extracted, "."]),
        *asked,
        Preformatted(printable(sample.response) or ABSENT),
    ]
