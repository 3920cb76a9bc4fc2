import json
from pathlib import Path

import pytest

from benchmarks.adversarial import measure
from benchmarks.outcome import write_outcome
from rl_core.rewards.grading.server import DEADLINE_SECONDS

pytest.importorskip("math_verify", reason="the slow path needs math-verify")

ANSWERS = [(r"\boxed{2}", "2", True), (r"\boxed{\prod_{k=1}^{10^8} k}", "3", None), (r"\boxed{5}", "6", True)]


def test_what_adversarial_answers_cost_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "adversarial.jsonl"
    rows = [dict(zip(("response", "gold", "expected"), answer, strict=True)) for answer in ANSWERS]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    outcome = measure(file)
    assert (outcome.answers, outcome.undecided, outcome.contrary) == (3, 1, 1)
    assert outcome.batches.repetitions == 1
    assert min(outcome.cold, outcome.batches.median) >= DEADLINE_SECONDS
    assert outcome.peak_bytes > 50e6  # of the grading server alone, which has imported sympy
    assert [row["what"] for row in outcome.rows()][1] == "eight of 3 adversarial answers"
    write_outcome(tmp_path / "outcome.json", outcome.as_json(), {})
    kept = json.loads((tmp_path / "outcome.json").read_text(encoding="utf-8"))
    assert kept["eight_seconds"]["max"] == outcome.batches.high
