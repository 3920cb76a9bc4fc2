"""The pictures: reward, lengths, entropy and disagreement, and held-out pass@1, all by step."""

import math
from collections.abc import Callable, Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from rl_core.report.compare import moving_average
from rl_core.report.facts import Interval, RunFacts, StageFacts
from rl_core.report.references import Reference, references
from rl_core.report.style import Theme, new_figure, themed, to_png

TRAINING, LENGTHS, DYNAMICS = "training_curve", "lengths_curve", "dynamics_curve"
EVALUATION = "evaluation_curve"
MAX_WINDOW = 51  # steps; a longer mean would hide a collapse
WINDOWS_IN_LONGEST_STAGE = 6  # so that a short stage still shows its course
NARROW_BAND = 0.16  # of the width: labels of narrower stages take turns in two rows
NAMES_APART = 0.055  # of the height
MAX_LEGEND_ROW = 80  # characters that fit below a figure


def draw(facts: RunFacts, theme: Theme) -> dict[str, bytes | None]:
    """Each picture as PNG by its name; None where the run holds nothing to draw in it yet."""
    trained = any(stage.steps_done for stage in facts.stages)
    pictures: dict[str, tuple[Callable[[RunFacts, Theme], Figure], bool]] = {
        TRAINING: (_training, trained),
        LENGTHS: (_lengths, trained),
        DYNAMICS: (_dynamics, any(stage.series("entropy_mean")[1] for stage in facts.stages)),
        EVALUATION: (_evaluation, bool(facts.models)),
    }
    with themed(theme):
        return {name: to_png(paint(facts, theme)) if there else None for name, (paint, there) in pictures.items()}


def smoothing_window(stages: Sequence[StageFacts]) -> int:
    """Steps that the smoothed lines average over: odd, the same for every stage."""
    longest = max((stage.steps_done for stage in stages), default=0)
    return min(MAX_WINDOW, max(3, longest // WINDOWS_IN_LONGEST_STAGE | 1))


def _training(facts: RunFacts, theme: Theme) -> Figure:
    figure, (axes,) = new_figure()
    _bands(axes, facts, theme)
    window = smoothing_window(facts.stages)
    labels = _Once()
    for stage in facts.stages:
        _raw_and_smooth(axes, stage, "reward_mean", window, theme.blue, labels)
        steps, rewards = stage.series("probe_reward_mean")
        if steps:
            label = labels("probe: fixed problems, never trained on")
            axes.plot(steps, rewards, "D-", color=theme.orange, markersize=5.5, linewidth=1.2, label=label)
    axes.set_ylabel("mean reward per response")
    _fit(axes, [values for stage in facts.stages for values in _rewards(stage)])
    _steps_axis(axes)
    _legend(figure, axes)
    return figure


def _lengths(facts: RunFacts, theme: Theme) -> Figure:
    figure, (above, below) = new_figure(rows=2)
    window = smoothing_window(facts.stages)
    labels = _Once()
    for panel in (above, below):
        _bands(panel, facts, theme, labelled=panel is above)
    for stage in facts.stages:
        _raw_and_smooth(above, stage, "response_tokens_mean", window, theme.blue, labels)
        _raw_and_smooth(below, stage, "truncated_fraction", window, theme.blue, labels)
        if stage.steps_done:
            ends = [stage.first_step, stage.first_step + stage.steps_done]
            above.plot(ends, [stage.limit_tokens] * 2, "--", color=theme.orange, label=labels("limit of the stage"))
    above.set_ylabel("tokens per response")
    above.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    above.set_ylim(0, 1.08 * max(stage.limit_tokens for stage in facts.stages if stage.steps_done))
    below.set_ylabel("cut off by the limit")
    below.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    below.set_ylim(0, max(0.05, 1.1 * _top(stage.series("truncated_fraction")[1] for stage in facts.stages)))
    _steps_axis(below)
    _legend(figure, above)
    return figure


def _dynamics(facts: RunFacts, theme: Theme) -> Figure:
    figure, (above, below) = new_figure(rows=2)
    window = smoothing_window(facts.stages)
    labels = _Once()
    for panel in (above, below):
        _bands(panel, facts, theme, labelled=panel is above)
    for stage in facts.stages:
        _raw_and_smooth(above, stage, "entropy_mean", window, theme.blue, labels)
        _raw_and_smooth(below, stage, "sampler_logprob_error_mean", window, theme.blue, labels)
    above.set_ylabel("entropy, nats per token")
    _fit(above, [stage.series("entropy_mean")[1] for stage in facts.stages])
    below.set_ylabel("sampler against trainer")
    errors = [stage.series("sampler_logprob_error_mean")[1] for stage in facts.stages]
    bound = facts.config.guard.max_sampler_logprob_error
    if bound is not None:
        ends = [0, sum(stage.steps_done for stage in facts.stages)]
        below.plot(ends, [bound] * 2, "--", color=theme.orange, label=labels(f"the run stops at {bound:g}"))
    beyond = max(_top(errors), bound or 1.0) - 1.0
    below.set_ylim(1.0 - 0.1 * beyond, 1.0 + 1.2 * beyond or None)
    _steps_axis(below)
    _legend(figure, above, below)
    return figure


def _evaluation(facts: RunFacts, theme: Theme) -> Figure:
    figure, (axes,) = new_figure()
    _bands(axes, facts, theme)
    published = references(facts)
    intervals = [model.evaluation.pass_at_1 for model in facts.models]
    axes.errorbar(
        [model.cumulative_step for model in facts.models],
        [interval.value for interval in intervals],
        yerr=_error_bars(intervals),
        fmt="s-",
        color=theme.blue,
        markersize=7,
        capsize=5,
        elinewidth=1.6,
        zorder=3,
        label=f"pass@1 on {facts.models[0].evaluation.benchmark}, {_limit(facts)} tokens, 95 % interval",
    )
    labels = _Once()
    validation = [stage.series("validation_reward_mean") for stage in facts.stages]
    for steps, rewards in validation:
        if steps:
            label = labels("validation while training, at the stage's own limit")
            axes.plot(steps, rewards, "o--", color=theme.green, markersize=4, linewidth=1, label=label)
    highest = _name_points(
        axes, facts, [pair for steps, rewards in validation for pair in zip(steps, rewards, strict=True)]
    )
    axes.set_ylabel("held-out problems solved (fraction)")
    _fit(axes, [highest, [reference.pass_at_1 for reference in published]], room=1.2)
    _reference_lines(axes, published, theme)
    axes.margins(x=0.06)
    _steps_axis(axes)
    _legend(figure, axes)
    return figure


def _reference_lines(axes: Axes, published: Sequence[Reference], theme: Theme) -> None:
    """A dotted line across for each, named right of it, where the names keep their distance."""
    low, high = axes.get_ylim()
    place = low
    for reference in sorted(published, key=lambda reference: reference.pass_at_1):
        axes.axhline(reference.pass_at_1, color=theme.muted, linestyle=":", linewidth=1.4, zorder=1)
        place = max(reference.pass_at_1, place + NAMES_APART * (high - low))
        axes.text(
            1.01,
            place,
            f"{reference.pass_at_1:.3f} {reference.model}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            color=theme.muted,
        )


def _name_points(axes: Axes, facts: RunFacts, others: Sequence[tuple[int, float]]) -> list[float]:
    """Write name and value of each model above everything drawn at its step; the heights of what is drawn."""
    tops = []
    for model in facts.models:
        interval, step = model.evaluation.pass_at_1, model.cumulative_step
        heights = [interval.value, interval.high or interval.value, *[value for at, value in others if at == step]]
        tops.append(max(heights))
        axes.annotate(
            f"{model.name}\n{interval.value:.3f}",
            (step, tops[-1]),
            (0, 5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=10,
        )
    return [*tops, *[value for _, value in others]]


def _raw_and_smooth(axes: Axes, stage: StageFacts, name: str, window: int, color: str, labels: "_Once") -> None:
    """Every step as a faint point, and the mean of the steps around each as a line, one stage at a time."""
    steps, values = stage.series(name)
    if not steps:
        return
    axes.plot(steps, values, ".", color=color, alpha=0.4, markersize=6, markeredgewidth=0, label=labels("one step"))
    axes.plot(steps, moving_average(values, window), color=color, label=labels(f"mean over {window} steps"))


def _bands(axes: Axes, facts: RunFacts, theme: Theme, *, labelled: bool = True) -> None:
    """Every stage that has begun as a band, with its name and limit above."""
    begun = [stage for stage in facts.stages if stage.steps_done]
    total = sum(stage.steps_done for stage in begun)
    narrow = any(stage.steps_done < NARROW_BAND * total for stage in begun)
    for at, stage in enumerate(begun):
        end = stage.first_step + stage.steps_done
        if stage.index % 2 == 0:
            axes.axvspan(stage.first_step, end, color=theme.band, zorder=0, linewidth=0)
        if labelled:
            row = 1.02 + 0.06 * (narrow and at % 2)
            text = f"{stage.name}: {stage.limit_tokens:,} tokens" if not narrow else stage.name
            middle, place = (stage.first_step + end) / 2, axes.get_xaxis_transform()
            axes.text(middle, row, text, transform=place, ha="center", va="bottom", fontsize=10, color=theme.muted)


class _Once:
    """A legend's label the first time it is asked for, and none after that."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, label: str) -> str:
        if label in self._given:
            return "_"
        self._given.add(label)
        return label


def _error_bars(intervals: Sequence[Interval]) -> list[list[float]]:
    below = [0.0 if interval.low is None else interval.value - interval.low for interval in intervals]
    above = [0.0 if interval.high is None else interval.high - interval.value for interval in intervals]
    return [below, above]


def _limit(facts: RunFacts) -> str:
    limit = facts.models[0].evaluation.protocol.get("max_new_tokens", "?")
    return f"{limit:,}" if isinstance(limit, int) else str(limit)


def _rewards(stage: StageFacts) -> list[list[float]]:
    return [stage.series(name)[1] for name in ("reward_mean", "probe_reward_mean")]


def _fit(axes: Axes, series: Sequence[Sequence[float]], room: float = 1.08) -> None:
    """From zero, where nothing is below it, to a little above the highest value: heights can be compared by eye."""
    finite = [value for values in series for value in values if math.isfinite(value)]
    if finite:
        low, high = min(finite), max(finite)
        top = max(high * room, 0.05)
        axes.set_ylim((0 if low >= 0 else low) - 0.02 * top, top)


def _top(series: Iterable[Sequence[float]]) -> float:
    return max((value for values in series for value in values if math.isfinite(value)), default=0.0)


def _steps_axis(axes: Axes) -> None:
    axes.set_xlabel("training step, counted over all stages")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))


def _legend(figure: Figure, *panels: Axes) -> None:
    """Below the figure, in one row where that fits; what has error bars comes first."""
    named = [pair for axes in panels for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles, labels = [handle for handle, _ in named], [label for _, label in named]
    order = sorted(range(len(labels)), key=lambda at: not isinstance(handles[at], ErrorbarContainer))
    columns = 1 if sum(map(len, labels)) > MAX_LEGEND_ROW else len(labels)
    figure.legend(
        [handles[at] for at in order], [labels[at] for at in order], loc="outside lower center", ncols=columns
    )
