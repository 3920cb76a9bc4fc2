"""A rehearsal's report says that it is one, before anything else, and what was scaled."""

import re
from pathlib import Path

from rl_core.config.rehearsal import rehearse
from rl_core.report import write_report
from rl_core.run_dir import RunDir
from tests.rl_core.report import synthetic_run


def test_the_first_sentence_says_rehearsal_and_a_table_what_was_scaled(tmp_path: Path) -> None:
    recipe = synthetic_run.new_run(tmp_path / "recipe", "stages.2.steps=900").config
    toy = rehearse(recipe, own=["stages.0.steps=6", "stages.1.steps=8", "stages.2.steps=10"]).config
    run = RunDir(tmp_path / "recipe", toy)
    text = write_report(synthetic_run.write_run(run)).read_text(encoding="utf-8")
    title, sentence, *_ = [line for line in text.splitlines() if line]
    assert title == "# synthetic-rehearsal: report"
    assert sentence.startswith("**A rehearsal of synthetic** at toy size")
    assert "says nothing of what the recipe reaches." in sentence
    assert "| `stages.*.steps` | 6, 8, 900 | 6, 8, 10 | asked for |" in re.sub(" +", " ", text)


def test_the_report_of_any_other_run_speaks_of_no_rehearsal(tmp_path: Path) -> None:
    run = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "run"))
    assert "ehears" not in write_report(run).read_text(encoding="utf-8").replace("rehearses: null", "")
