"""What a report says of the run beside its results: what ran, on what, what it took, and what others reached."""

import re
from pathlib import Path

import pytest

from rl_core.manifest import read_json, write_json
from rl_core.report.collect import collect
from rl_core.report.markdown import to_markdown
from rl_core.report.plots import DYNAMICS, EVALUATION, draw
from rl_core.report.references import caption, references
from rl_core.report.sections import report_blocks
from rl_core.report.style import LIGHT
from rl_core.run_dir import RunDir
from tests.rl_core.report import synthetic_run
from tests.rl_core.report.test_write_report import row_of

AIME24 = "data.test={source: hub, repo_id: HuggingFaceH4/aime_2024, file: data/train-00000-of-00001.parquet}"
PAPER = ("evaluation.protocol.num_samples=16", "evaluation.protocol.top_p=0.95")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return synthetic_run.write_run(synthetic_run.new_run(tmp_path / "run"))


def report_of(run: RunDir) -> str:
    """The report as Markdown, without its pictures, which take most of the time."""
    return to_markdown(report_blocks(collect(run), frozenset({EVALUATION})))


def priced(run: RunDir, price: float) -> RunDir:
    config = synthetic_run.load_config(None, [*synthetic_run.OVERRIDES, f"report.price_per_device_hour={price}"])
    return RunDir(run.root, config)


def test_what_ran_is_told_in_a_few_rows(run: RunDir) -> None:
    synthetic_run.write_work(run, "train 8k", 60.0, accelerators=8)
    text = report_of(run).partition("## What ran")[2]
    assert row_of(text, "policy") == ["the project's own small model, warmed up, all weights"]
    assert row_of(text, "trained on")[0].startswith("3,869 problems of the project's own task; measured on 8 problems")
    assert row_of(text, "stages") == ["8k (6 steps, 32 tokens), 16k (8 steps, 64 tokens) and 24k (10 steps, 96 tokens)"]
    assert row_of(text, "hardware") == ["8 x NVIDIA H100 80GB HBM3, 16 cores of A processor, 128.00 GiB of memory"]
    assert row_of(text, "when") == ["2026-11-26 04:00 to 2026-11-26 04:01 UTC"]


def test_time_is_told_by_part_over_all_processes_and_devices(run: RunDir) -> None:
    synthetic_run.write_work(run, "train 8k", 1800.0, accelerators=8)
    synthetic_run.write_work(run, "convert 8k", 3600.0)
    synthetic_run.write_work(run, "train 8k", 1800.0, accelerators=8)
    text = report_of(run).partition("## Time and cost")[2]
    assert row_of(text, "train 8k") == ["2", "60.0 min", "50%", "8.00"]
    assert row_of(text, "convert 8k") == ["1", "60.0 min", "50%", "1.00"]
    assert row_of(text, "**all parts**") == ["**3**", "**2.0 h**", "**100%**", "**9.00**"]
    assert "no price is given (report.price_per_device_hour), so there are device hours alone" in text


def test_cost_is_told_where_there_is_a_price(run: RunDir) -> None:
    synthetic_run.write_work(run, "train 8k", 3600.0, accelerators=8)
    text = report_of(priced(run, 2.5))
    assert row_of(text.partition("## Time and cost")[2], "train 8k")[-1] == "20.00 USD"
    assert "at 2.50 USD for a device hour." in text
    assert row_of(text, "cost")[0] == "20.00 USD"


def test_processes_that_left_no_end_are_counted(run: RunDir) -> None:
    synthetic_run.write_work(run, "train 8k", 1800.0)
    assert "left no end" not in report_of(run)
    synthetic_run.write_work(run, "train 8k", 30.0, status="under way")
    assert "1 of the processes left no end, as one does that is killed or is still at work" in report_of(run)


def test_every_model_is_compared_with_the_base_and_with_the_one_before(run: RunDir) -> None:
    text = report_of(run)
    base, *changes = row_of(text, "change from base, paired")
    assert base == "-"
    assert [change.split()[0] for change in changes] == ["+0.188", "+0.375", "+0.656"]
    steps = row_of(text, "change from the model before, paired")
    assert [change.split()[0] for change in steps[1:]] == ["+0.188", "+0.188", "+0.281"]


def test_other_benchmarks_of_the_same_models_stand_in_a_table_of_their_own(run: RunDir) -> None:
    assert "Further benchmarks" not in report_of(run)
    for index in (None, 2):
        folder = run.base if index is None else run.stage(index).hf
        results = run.evaluation(read_json(folder / "manifest.json")["digest"])
        other = {**read_json(results), "benchmark": "math500"}
        write_json(results.with_name("math500-abc.json"), other)
    text = report_of(run).partition("### Further benchmarks")[2]
    line = next(line for line in text.splitlines() if line.startswith("| math500"))
    assert [cell.split()[0] for cell in line.strip("| ").split("|")[1:]] == ["0.156", "-", "-", "0.812"]
    assert row_of(text, "change from base, paired")[-1].startswith("+0.656 (")
    for metric in ("pass@4", "majority@4", "agreement@4"):
        assert [cell.split()[0] for cell in row_of(text, metric)] == ["0.166", "-", "-", "0.823"]


def test_reference_lines_are_drawn_for_aime24_alone(tmp_path: Path) -> None:
    own = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "own"))
    assert references(collect(own)) == ()
    assert "Dotted" not in report_of(own)
    aime = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "aime", AIME24))
    assert [(line.model, line.pass_at_1) for line in references(collect(aime))] == [
        ("DeepScaleR-1.5B", 0.431),
        ("o1-preview", 0.4),
        ("R1-Distill-1.5B", 0.288),
    ]
    assert draw(collect(own), LIGHT)[EVALUATION] != draw(collect(aime), LIGHT)[EVALUATION]
    assert "Dotted: what the authors of DeepScaleR publish for AIME24 (README of agentica-project/deepscaler" in (
        report_of(aime)
    )


def test_a_protocol_other_than_that_of_the_published_figures_is_said_out_loud(tmp_path: Path) -> None:
    other = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "other", AIME24))
    assert caption(collect(other)).endswith(
        "This run was measured otherwise: num_samples 4, top_p 1.0, max_new_tokens 96."
    )
    limit = "evaluation.protocol.max_new_tokens=32768"
    same = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "same", AIME24, *PAPER, limit))
    assert "otherwise" not in caption(collect(same))


def test_entropy_and_disagreement_have_a_picture_once_they_are_measured(run: RunDir) -> None:
    assert draw(collect(run), LIGHT)[DYNAMICS] is not None
    for index in range(3):
        metrics = run.stage(index).metrics
        metrics.write_text(re.sub(r'"entropy_mean": [\d.]+', '"entropy_mean": null', metrics.read_text()))
    assert draw(collect(run), LIGHT)[DYNAMICS] is None
