"""The pure parts of the report: comparisons, wording, setting."""

import math
from pathlib import Path

import pytest

from rl_core.report.compare import SolvedBeyond, change, moving_average, solved_beyond
from rl_core.report.document import Code, Paragraph, Preformatted, Table
from rl_core.report.facts import Evaluation, Interval, ProblemRow, Sample, StageFacts
from rl_core.report.html import to_html
from rl_core.report.markdown import to_markdown
from rl_core.report.plots import smoothing_window
from rl_core.report.wording import MAX_TEXT, duration, interval, listed, printable


def sample(problem: int, tokens: int, reward: float | None) -> Sample:
    return Sample(problem, 0, tokens, reward, truncated=False, extracted=None)


def test_response_at_the_limit_is_within_it_and_unscored_ones_solve_nothing() -> None:
    samples = [sample(0, 32, 1.0), sample(1, 33, 1.0), sample(2, 40, 1.0), sample(2, 9, 1.0), sample(3, 50, None)]
    assert solved_beyond(samples, 32) == SolvedBeyond(problems=2, only_beyond=1)


def test_moving_average_is_centred_and_shorter_at_the_ends() -> None:
    assert moving_average([1.0, 2.0, 6.0, 10.0], 3) == [1.5, 3.0, 6.0, 8.0]


def test_moving_average_leaves_out_what_is_not_a_number() -> None:
    assert moving_average([1.0, math.nan, 3.0], 3) == [1.0, 2.0, 3.0]


def test_intervals_that_touch_overlap_and_unknown_ones_are_not_compared() -> None:
    assert Interval(0.2, 0.1, 0.3).overlaps(Interval(0.4, 0.3, 0.5)) is True
    assert Interval(0.2, 0.1, 0.3).overlaps(Interval(0.4, 0.31, 0.5)) is False
    assert Interval(0.4, 0.3, 0.5).overlaps(Interval(0.2, 0.1, 0.3)) is True
    assert Interval(0.2).overlaps(Interval(0.4, 0.3, 0.5)) is None


@pytest.mark.parametrize(("steps", "window"), [(4, 3), (25, 5), (40, 7), (1000, 51)])
def test_window_grows_with_the_longest_stage_up_to_a_bound(steps: int, window: int) -> None:
    stage = StageFacts(0, "8k", steps, 32, 0, ({"step": steps},), None, None, None)
    assert smoothing_window([stage]) == window


def test_numbers_are_written_the_same_everywhere() -> None:
    assert interval(Interval(0.5, 0.4, 0.6)) == "0.500 (0.400 to 0.600)"
    assert interval(Interval(-0.5, -0.6, 0.4), signed=True) == "-0.500 (-0.600 to +0.400)"
    assert interval(Interval(0.5)) == "0.500"
    assert interval(None) == "-"
    assert [duration(seconds) for seconds in (0.04, 119.9, 120, 7200)] == ["0.0 s", "119.9 s", "2.0 min", "2.0 h"]
    assert [listed(names) for names in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]


def test_long_response_keeps_its_beginning_and_its_end() -> None:
    text = printable("a" * MAX_TEXT + "b" * MAX_TEXT)
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert f"[... {MAX_TEXT:,} characters left out ...]" in text


def test_characters_that_no_page_may_hold_are_replaced() -> None:
    assert printable("a\x00\x1b\ud800b\r\nc\td") == "a\ufffd\ufffd\ufffdb\nc\td"


def test_markdown_escapes_what_would_be_read_as_markup() -> None:
    assert to_markdown([Paragraph(["a*b* <i> a_b _c_ [x](y) ", Code("a`b")])]) == (
        "a\\*b\\* \\<i\\> a_b \\_c\\_ \\[x\\](y) ``a`b``\n"
    )


def test_markdown_table_survives_bars_and_line_breaks_in_cells() -> None:
    table = Table(["x", "n"], [[Code("a|b"), "1"], ["c|d\ne", "22"]])
    assert to_markdown([table]).splitlines() == [
        "| x      |   n |",
        "| ------ | --: |",
        "| `a\\|b` |   1 |",
        "| c\\|d e |  22 |",
    ]


def test_fence_is_longer_than_any_in_the_text() -> None:
    assert to_markdown([Preformatted("a\n````\nb")]) == "`````\na\n````\nb\n`````\n"


def test_html_escapes_text_in_every_place() -> None:
    evil = "<b>&\"'"
    page = to_html(
        [Paragraph([evil, Code(evil)]), Table([evil], [[evil]]), Preformatted(evil)], title=evil, pictures={}
    )
    assert page.count("&lt;b&gt;&amp;&quot;&#x27;") == 6
    assert "<b>" not in page


def test_models_that_were_asked_different_problems_are_not_paired() -> None:
    before, after = evaluation("d1", num_correct=1), evaluation("d1", num_correct=3)
    found = change(before, after)
    assert found is not None
    assert found.value == 0.5
    assert change(before, evaluation("d2", num_correct=3)) is None


def evaluation(dataset_digest: str, *, num_correct: int) -> Evaluation:
    value = Interval(num_correct / 4)
    problems = tuple(ProblemRow(index, "1 + 1", "2", num_correct, 4) for index in range(2))
    return Evaluation(
        Path("e.json"), "m", "own", dataset_digest, {}, 2, value, {}, {}, {}, 1.0, 0.0, 0.0, 0, problems, None
    )
