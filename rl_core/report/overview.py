"""What ran, on what, in a few lines, and the numbers that stand for the whole run."""

from collections.abc import Sequence
from pathlib import Path

from rl_core.config import DatasetConfig
from rl_core.report.compare import change
from rl_core.report.cost import cost, device_hours, device_unit, hardware, started_and_ended, total_seconds
from rl_core.report.document import Block, Code, Heading, KeyFigure, KeyFigures, Link, Table
from rl_core.report.facts import Interval, RunFacts
from rl_core.report.wording import count, duration, interval, listed

ALL_TEXT = frozenset(range(2))


def key_figures(facts: RunFacts) -> list[Block]:
    """Where the run ended, how far that is from where it began, and what it took; nothing before there is anything."""
    figures = [*_scores(facts), *_effort(facts)]
    return [KeyFigures(figures)] if figures else []


def what_ran(facts: RunFacts) -> list[Block]:
    """The recipe in a few rows."""
    config = facts.config
    rows: list[list[str]] = [
        ["recipe", Code(config.name)],
        ["policy", _policy(facts)],
        ["trained on", _trained_on(facts)],
        ["algorithm", _algorithm(facts)],
        ["stages", listed([f"{s.name} ({s.planned_steps:,} steps, {s.limit_tokens:,} tokens)" for s in facts.stages])],
        ["rewards", listed([reward.name for reward in config.rewards])],
    ]
    if facts.work:
        began, ended = started_and_ended(facts)
        rows += [["hardware", line] for line in hardware(facts)]
        rows.append(["when", f"{began} to {ended} UTC"])
    rows += [[what, Link(address)] for what, address in facts.links]
    return [Heading(2, "What ran"), Table(["", ""], rows, ALL_TEXT)]


def _scores(facts: RunFacts) -> list[KeyFigure]:
    if not facts.models:
        return []
    first, last = facts.models[0], facts.models[-1]
    shown = [first] if last is first else [first, last]
    figures = [_score(f"pass@1, {model.name}", model.evaluation.pass_at_1) for model in shown]
    if last is not first:
        difference = change(first.evaluation, last.evaluation)
        if difference is not None:
            value, _, rest = interval(difference, signed=True).partition(" ")
            figures.append(KeyFigure("change, paired", value, rest))
    return figures


def _score(label: str, score: Interval) -> KeyFigure:
    value, _, rest = interval(score).partition(" ")
    return KeyFigure(label, value, rest)


def _effort(facts: RunFacts) -> Sequence[KeyFigure]:
    steps = sum(stage.steps_done for stage in facts.stages)
    figures = [KeyFigure("training steps", count(steps), f"in {len(facts.stages)} stages")] if steps else []
    if facts.work:
        hours = device_hours(facts)
        figures.append(KeyFigure("time", duration(total_seconds(facts)), f"{hours:,.2f} {device_unit(facts)} hours"))
        if facts.config.report.price_per_device_hour is not None:
            figures.append(KeyFigure("cost", cost(hours, facts)))
    return figures


def _policy(facts: RunFacts) -> str:
    policy = facts.config.policy
    name = "the project's own small model, warmed up" if policy.model_name == "embedded" else policy.model_name
    return f"{name}, by an adapter of rank {policy.lora.rank}" if policy.lora else f"{name}, all weights"


def _trained_on(facts: RunFacts) -> str:
    rows = (facts.data or {}).get("rows", {})
    train, test = facts.config.data.train, facts.config.data.test
    benchmark = facts.config.evaluation.benchmark
    problems = facts.models[0].evaluation.num_problems if facts.models else rows.get(benchmark)
    measured = _data(test) if benchmark == "test" else benchmark
    return (
        f"{count(rows.get('train'))} problems of {_data(train)}; measured on {count(problems)} problems of {measured}"
    )


def _data(dataset: DatasetConfig) -> str:
    named = {
        "embedded": "the project's own task",
        "hub": dataset.repo_id or "",
        "path": Path(dataset.path or "").name,
        "held_out": "the training rows, held out",
    }
    return named[dataset.source]


def _algorithm(facts: RunFacts) -> str:
    """Of the first stage, with the settings that some later stage has otherwise."""
    first, *later = facts.config.stages
    algorithm, rollout = first.algorithm, first.rollout
    told = (
        f"{algorithm.objective}, baseline {algorithm.baseline}, scale {algorithm.scale}, KL coefficient "
        f"{algorithm.kl_coefficient:g}; {rollout.num_prompts} problems x {rollout.num_samples} responses a step"
    )
    same = all((stage.algorithm, stage.rollout) == (algorithm, rollout) for stage in later)
    return told if same else f"{told} ({first.name}; later stages differ, see the configuration)"
