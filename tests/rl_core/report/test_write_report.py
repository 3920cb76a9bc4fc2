"""The report of a finished run: what it says, how it is set, and that it stays the same."""

import base64
import json
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import pytest

from rl_core.report import write_report
from rl_core.run_dir import RunDir
from tests.rl_core.report import synthetic_run

PICTURES = ("training_curve", "lengths_curve", "dynamics_curve", "evaluation_curve")
FILES = ("report.md", "report.html", *[f"{name}.png" for name in PICTURES])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A finished run with its report; tests only read it."""
    run = synthetic_run.write_run(synthetic_run.new_run(tmp_path_factory.mktemp("runs") / "synthetic"))
    assert write_report(run) == run.root / "report.md"
    return run


@pytest.fixture(scope="module")
def markdown(run: RunDir) -> str:
    return (run.root / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(run: RunDir) -> str:
    return (run.root / "report.html").read_text(encoding="utf-8")


def row_of(text: str, name: str) -> list[str]:
    """The cells of the first Markdown table row that is named so."""
    line = next(line for line in text.splitlines() if re.match(rf"\| {re.escape(name)} *\|", line))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_headline_says_whether_the_recipe_worked(markdown: str) -> None:
    assert (
        "**Held-out pass@1 on test rises from 0.156 (0.050 to 0.300) for base to 0.812 (0.650 to 0.950) for 24k.** "
        "The 95 % intervals do not overlap. Paired by problem, the change is +0.656 (" in markdown
    )
    assert "unfinished" not in markdown


def test_what_the_recipe_promises_is_answered_with_numbers(markdown: str) -> None:
    assert "- **Yes**: in no stage does pass@1 fall beyond its error. Change by stage: 8k +0.188 (" in markdown
    assert (
        "- **Yes**: the reward on the fixed probe problems rises in every stage: 8k 0.250 to 0.350, 16k 0.450 to 0.550 "
        "and 24k 0.650 to 0.750." in markdown
    )
    assert "- **Yes**: truncation falls as the limit grows." in markdown
    assert "8k 36.0 %, 16k 14.0 % and 24k 2.0 %." in markdown
    assert "longer than the limit of the stage before: 16k 3 of 8 and 24k 3 of 8." in markdown


def test_results_table_has_every_model_with_intervals(markdown: str) -> None:
    assert row_of(markdown, "pass@1") == [
        "0.156 (0.050 to 0.300)",
        "0.344 (0.100 to 0.600)",
        "0.531 (0.250 to 0.800)",
        "0.812 (0.650 to 0.950)",
    ]
    assert row_of(markdown, "pass@4")[0] == "0.166 (0.050 to 0.300)"
    assert row_of(markdown, "majority@4")[3] == "0.823 (0.650 to 0.950)"
    assert row_of(markdown, "agreement@4")[1] == "0.354 (0.100 to 0.600)"
    assert row_of(markdown, "tokens of a response, mean") == ["50.2"] * 4
    assert row_of(markdown, "cut off by the limit") == ["12.5 %"] * 4
    assert row_of(markdown, "without an answer") == ["6.2 %"] * 4
    assert row_of(markdown, "unscored responses") == ["7"] * 4


def test_stage_table_compares_the_start_and_the_end_of_each_stage(markdown: str) -> None:
    assert row_of(markdown, "steps") == ["6", "8", "10"]
    assert row_of(markdown, "limit, tokens of a response") == ["32", "64", "96"]
    assert row_of(markdown, "reward, first 5 steps") == ["0.130", "0.330", "0.530"]
    assert row_of(markdown, "reward, last 5 steps") == ["0.140", "0.360", "0.580"]
    assert row_of(markdown, "probe reward, before") == ["0.250", "0.450", "0.650"]
    assert row_of(markdown, "probe reward, after") == ["0.350", "0.550", "0.750"]
    assert row_of(markdown, "cut off, first 5 steps") == ["37.0 %", "17.0 %", "7.0 %"]


def test_problems_solved_beyond_the_limit_before_are_counted(markdown: str) -> None:
    """Of problem 2, one right response fits the limit before; problems 3 and 4 are solved beyond it only."""
    assert row_of(markdown, "16k") == ["32", "3 of 8", "2", "1"]
    assert row_of(markdown, "24k") == ["64", "3 of 8", "3", "0"]


def test_time_of_a_step_is_told_by_part(markdown: str) -> None:
    assert row_of(markdown, "generate") == ["12.0 s (40%)", "16.0 s (40%)", "20.0 s (40%)", "48.0 s (40%)"]
    assert row_of(markdown, "other") == ["3.0 s (10%)", "4.0 s (10%)", "5.0 s (10%)", "12.0 s (10%)"]
    assert row_of(markdown, "whole step")[3] == "2.0 min (100%)"
    assert row_of(markdown, "largest memory of a process")[:3] == ["1.00 GiB", "1.50 GiB", "2.00 GiB"]


def test_data_promotions_seeds_and_digests_are_told(run: RunDir, markdown: str) -> None:
    assert row_of(markdown.partition("## Data")[2], "train") == ["4,000", "3", "3,869", "`aaaa`"]
    assert "`repo_id: someone/problems, commit: c0ffee`, `train.json` (1,234 bytes, sha256 `feed`)" in markdown
    assert row_of(markdown.partition("## Promotions")[2], "8k")[:3] == ["6", "last step", "probe_reward_mean 0.35"]
    assert row_of(markdown, "max_new_tokens") == ["`96`"]
    assert "The seed of the run is 0, that of the evaluation 0" in markdown
    assert row_of(markdown, "configuration")[0] == f"`{run.keys.recipe()}`"
    model = json.loads((run.stage(2).hf / "manifest.json").read_text())["digest"]
    assert row_of(markdown, "model after 24k")[0] == f"`{model}`"
    assert "python -m flows.deepscaler_recipe --config " in markdown


def test_a_right_a_wrong_and_a_cut_off_response_can_be_read(markdown: str) -> None:
    right, wrong, cut_off = re.findall(r"^Problem .*", markdown, re.MULTILINE)
    assert right == "Problem 0, sample 0, 12 tokens. Expected: `1`. Answer found: `1`."
    assert wrong == "Problem 5, sample 3, 72 tokens. Expected: `6`. Answer found: `55`."
    assert cut_off == "Problem 7, sample 1, 96 tokens. Expected: `8`. Answer found: none."


def test_page_is_well_formed_and_shows_a_response_without_running_it(html: str) -> None:
    page = ElementTree.fromstring(html)
    assert [element.tag for element in page.iter() if element.tag == "script"] == []
    shown = [element.text for element in page.iter("pre")]
    assert synthetic_run.EVIL.replace("\x00", "\ufffd").replace("\x1b", "\ufffd") in shown


def test_response_cannot_leave_its_place_in_markdown(markdown: str) -> None:
    assert "````\nx </pre><script>alert('1')</script> & ``` **b** | \ufffd\ufffd[31m\n````" in markdown


def test_contents_name_every_section_and_lead_to_it(html: str) -> None:
    page = ElementTree.fromstring(html)
    sections = {heading.get("id"): heading.text for heading in page.iter("h2")}
    contents = {link.get("href", "").removeprefix("#"): link.text for link in page.iter("a")}
    assert contents == sections
    assert len(sections) > 8


def test_page_asks_nobody_for_anything(html: str) -> None:
    addresses = re.findall(r'(?:src|srcset|href)="([^"]{0,22})', html)
    asked = [address for address in addresses if not address.startswith("#")]  # those lead to the page's own sections
    assert asked == ["data:image/png;base64,"] * 2 * len(PICTURES)
    assert "url(" not in html
    assert "@import" not in html


def test_pictures_have_a_sane_size_and_content(run: RunDir, html: str) -> None:
    for name in PICTURES:
        png = (run.root / f"{name}.png").read_bytes()
        pixels = matplotlib.image.imread(BytesIO(png))
        assert pixels.shape[1] == 1088
        assert pixels.shape[0] in (672, 864)
        assert 10_000 < len(png) < 300_000
        assert pixels.std() > 0.05, "a picture of one colour shows nothing"
        assert base64.b64encode(png).decode() in html


def test_same_files_give_the_same_report(run: RunDir) -> None:
    before = {name: (run.root / name).read_bytes() for name in FILES}
    write_report(run)
    assert {name: (run.root / name).read_bytes() for name in FILES} == before
    assert list(run.root.glob("*.partial")) == []


def test_report_needs_neither_torch_nor_pyplot() -> None:
    code = "import sys, rl_core.report; print([name for name in ('torch', 'matplotlib.pyplot') if name in sys.modules])"
    root = Path(__file__).parents[3]
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert shown.stdout == "[]\n"
