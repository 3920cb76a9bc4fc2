"""The leaderboard of a folder of runs: leaderboard.parquet, .html, .md and .json, made from the evaluations there.

`models` finds them, `measured` reads, `board` compares and judges, `page` and `plots` tell, `table` keeps. No torch.
"""

from datetime import UTC, datetime
from pathlib import Path

from rl_core.config.reevaluation import ReevaluationConfig
from rl_core.leaderboard.alarms import Alarm, write_alarms
from rl_core.leaderboard.asked import asked_of, dataset_asked
from rl_core.leaderboard.board import Row, compared, judged
from rl_core.leaderboard.files import BoardFiles
from rl_core.leaderboard.measured import read_measured
from rl_core.leaderboard.page import Page, leaderboard_page, sentence
from rl_core.leaderboard.passes import all_series
from rl_core.leaderboard.table import read_verdicts, write_table
from rl_core.manifest import write_text
from rl_core.report.html import to_html
from rl_core.report.markdown import to_markdown


def write_leaderboard(runs: Path, config: ReevaluationConfig) -> Path:
    """Write the leaderboard of what is evaluated so far, judging what was not judged before; the path of the page.

    Raises:
        MistakeError: there is no such folder, or the leaderboard there is cannot be read.
    """
    runs = runs.resolve()
    series, left_out = all_series(runs, config)
    files, rate = BoardFiles(runs), config.alarm.max_false_alarm_rate
    asked = {each.name: asked_of(each, config) for each in series}
    controlled = {each.name for each in series if any(model.kind == "base" for model in each.models)}
    datasets = {each.name: dataset_asked(each, config) for each in series}

    def is_asked(row: Row) -> bool:
        return asked[row.measured.series] == (row.measured.benchmark, row.measured.protocol_digest)

    def can_be_judged(row: Row) -> bool:
        """A verdict is said once: where the series has a base model, not before that is evaluated."""
        return is_asked(row) and (row.control is not None or row.measured.series not in controlled)

    def is_current(row: Row) -> bool:
        return is_asked(row) and datasets[row.measured.series] == row.measured.dataset_digest

    rows = [row for each in series for row in compared(read_measured(each, left_out))]
    now = datetime.now(UTC).replace(microsecond=0)
    rows = judged(rows, read_verdicts(files.table), ask=can_be_judged, rate=rate, now=now)
    page = leaderboard_page(rows, left_out, frozenset(row.measured.asked for row in rows if is_asked(row)), rate)
    write_table(files.table, rows, runs)
    fallen = [row for row in rows if row.verdict and row.verdict.is_regression]
    write_alarms(files.alarms, [_alarm(row, rows, asked=is_current(row)) for row in fallen])
    _write_pictures(files, page)
    write_text(files.markdown, to_markdown(page.blocks))
    write_text(files.page, to_html(page.blocks, title=f"{runs.name}: leaderboard", pictures=page.pictures))
    return files.page


def _write_pictures(files: BoardFiles, page: Page) -> None:
    """The light ones, beside the Markdown; older ones that are no part of it any more are removed."""
    for name, (light, _) in page.pictures.items():
        files.picture(name).write_bytes(light)
    for file in files.pictures():
        if file.stem not in page.pictures:
            file.unlink()


def _alarm(row: Row, rows: list[Row], *, asked: bool) -> Alarm:
    measured, verdict = row.measured, row.verdict
    assert verdict is not None, "a regression was judged"
    assert verdict.worse_than is not None, "a regression is worse than another"
    assert verdict.difference is not None, "and by so much"
    last = max(
        (
            other.measured
            for other in rows
            if (other.measured.series, other.measured.asked) == (measured.series, measured.asked)
        ),
        key=lambda other: other.model.position,
    )
    return Alarm(
        *row.key,
        model=measured.model.name,
        worse_than=verdict.worse_than,
        pass_at_1=measured.pass_at_1.value,
        difference=verdict.difference,
        adjusted_p_value=verdict.adjusted_p_value,
        false_alarm_rate=verdict.false_alarm_rate,
        num_judged=verdict.num_judged,
        judged_at=verdict.judged_at.isoformat(timespec="seconds"),
        newest=last is measured,
        asked=asked,
        sentence=f"{measured.series}: {measured.model.name} {sentence(row)}",
    )
