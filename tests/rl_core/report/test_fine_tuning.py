"""A fine-tuned model stands between the base and the stages, and the report says what made it."""

import re
from pathlib import Path

from rl_core.config import SFT
from rl_core.report import write_report
from rl_core.run_dir import RunDir
from tests.rl_core.report import synthetic_run


def report_of(run: RunDir) -> str:
    return re.sub(" +", " ", write_report(run).read_text(encoding="utf-8"))


def test_the_fine_tuned_model_is_a_column_of_the_results_and_its_training_a_table(tmp_path: Path) -> None:
    run = synthetic_run.new_run(tmp_path / "run", "sft={data: {source: embedded}, max_tokens: 160}")
    synthetic_run.write_data_and_base(run)
    synthetic_run.write_fine_tuning(run)
    synthetic_run.write_run(run)
    synthetic_run.write_evaluation(run, SFT)
    text = report_of(run)
    assert "| | base | sft | 8k (step 6) | 16k (step 14) | 24k (step 24) |" in text
    assert re.search(r"\| pass@1 \| 0\.156 [^|]*\| 0\.219 ", text)
    for row in (
        "| steps | 20 |",
        "| rows learned from | 1,234 |",
        "| rows held out | 64 |",
        "| rows too long, set aside | 7 |",
        "| tokens learned from, with repetition | 12,000 |",
        "| held-out loss, before | 1.500 |",
        "| held-out loss, after | 1.125 |",
    ):
        assert row in text
    assert "| fine-tuned model |" in text
    assert "unfinished" not in text


def test_a_run_without_it_does_not_speak_of_it(tmp_path: Path) -> None:
    run = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "run"))
    text = report_of(run)
    assert "Fine-tuning" not in text
    assert "fine-tuned" not in text
