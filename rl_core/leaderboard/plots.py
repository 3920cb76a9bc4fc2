"""The two pictures of a group of evaluations that were asked the same: pass@1 by training step, and by date."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rl_core.leaderboard.board import Row
from rl_core.report.facts import Interval
from rl_core.report.style import DARK, Theme, new_figure, themed, to_png

# Okabe and Ito's hues that leave orange, the colour of a regression, free; on dark pages lighter.
HUES_LIGHT = ("#0072b2", "#00795a", "#a0558a", "#8a6d00", "#5b6470")
HUES_DARK = ("#56b4e9", "#2fc39a", "#d990c0", "#d9c24a", "#a5adb8")
MARKERS = "osD^v"
MAX_SERIES = len(MARKERS)  # lines that can be told apart; older series are drawn in grey
SQUARE = 7  # size of a mark, points
RING = 13  # around a regression
BARS: dict[str, Any] = {"capsize": 3, "elinewidth": 1.1}


def by_step(rows: Sequence[Row], theme: Theme) -> bytes:
    """Pass@1 with its interval over the steps of training, a line for each series; regressions ringed."""
    with themed(theme):
        figure, (axes,) = new_figure()
        shown = _series(rows, theme)
        for name, series, look in shown:
            ordered = sorted(series, key=lambda row: row.measured.model.position)
            steps = [row.measured.model.position for row in ordered]
            axes.errorbar(steps, _values(ordered), yerr=_error_bars(ordered), label=name, **look, **BARS)
        _ring(axes, [(row.measured.model.position, row) for row in rows], theme)
        axes.set_xlabel("training step since the base model")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
        return _finished(figure, axes, rows, [name for name, _, _ in shown])


def by_date(rows: Sequence[Row], theme: Theme) -> bytes:
    """Pass@1 of each evaluation when it was made, and the best so far."""
    with themed(theme):
        figure, (axes,) = new_figure()
        shown = _series(rows, theme)
        for name, series, look in shown:
            ordered = sorted(series, key=lambda row: row.measured.evaluated_at)
            dates: list[Any] = [row.measured.evaluated_at for row in ordered]
            axes.plot(dates, _values(ordered), label=name, **{**look, "linestyle": ""})
        ordered = sorted(rows, key=lambda row: row.measured.evaluated_at)
        dates, best = [row.measured.evaluated_at for row in ordered], list(accumulate(_values(ordered), max))
        axes.step(dates, best, where="post", color=theme.muted, linewidth=1.4, zorder=1, label="best so far")
        _ring(axes, [(row.measured.evaluated_at, row) for row in rows], theme)
        axes.set_xlabel("evaluated (UTC)")
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        return _finished(figure, axes, rows, [name for name, _, _ in shown])


def _series(rows: Sequence[Row], theme: Theme) -> list[tuple[str, list[Row], dict[str, Any]]]:
    """Name, rows and look of each series: the newest in colours, older ones together in grey below them."""
    by_name: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.measured.evaluated_at, reverse=True):
        by_name.setdefault(row.measured.series, []).append(row)
    hues = HUES_DARK if theme is DARK else HUES_LIGHT
    looks = []
    for at, (name, series) in enumerate(by_name.items()):
        if at < MAX_SERIES:
            look: dict[str, Any] = {
                "color": hues[at],
                "marker": MARKERS[at],
                "markersize": SQUARE,
                "linestyle": "-",
                "zorder": 3,
            }
        else:
            look = {"color": theme.muted, "marker": ".", "linewidth": 0.8, "linestyle": "-", "alpha": 0.5, "zorder": 2}
            name = f"{len(by_name) - MAX_SERIES} older" if at == MAX_SERIES else "_"
        looks.append((name, series, look))
    return looks


def _ring(axes: Axes, points: Sequence[tuple[Any, Row]], theme: Theme) -> None:
    fallen = [(x, row.measured.pass_at_1.value) for x, row in points if row.verdict and row.verdict.is_regression]
    if fallen:
        xs, ys = zip(*fallen, strict=True)
        look: dict[str, Any] = {
            "marker": "o",
            "markersize": RING,
            "markerfacecolor": "none",
            "markeredgecolor": theme.orange,
        }
        axes.plot(xs, ys, linestyle="", markeredgewidth=2.2, zorder=4, label="regression", **look)


def _finished(figure: Figure, axes: Axes, rows: Sequence[Row], names: Sequence[str]) -> bytes:
    axes.set_ylabel("pass@1")
    highest = max(_top(row.measured.pass_at_1) for row in rows)
    axes.set_ylim(-0.02 * highest, max(0.05, 1.08 * highest))  # from zero: heights can be compared by eye
    axes.margins(x=0.05)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    drawn = [name for name in dict.fromkeys([*names, *handles]) if name in handles]
    figure.legend([handles[name] for name in drawn], drawn, loc="outside lower center", ncols=min(3, len(drawn)))
    return to_png(figure)


def _values(rows: Sequence[Row]) -> list[float]:
    return [row.measured.pass_at_1.value for row in rows]


def _error_bars(rows: Sequence[Row]) -> list[list[float]]:
    intervals = [row.measured.pass_at_1 for row in rows]
    below = [0.0 if each.low is None else each.value - each.low for each in intervals]
    above = [0.0 if each.high is None else each.high - each.value for each in intervals]
    return [below, above]


def _top(interval: Interval) -> float:
    return interval.value if interval.high is None else interval.high
