"""Where the files of a run are, and after what evaluations are named."""

from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.run_dir import RunDir


def run_of(*overrides: str) -> RunDir:
    return RunDir(Path("run"), load_config(overrides=overrides))


def test_an_evaluation_is_named_by_its_model_its_benchmark_and_its_protocol() -> None:
    path = run_of().evaluation("0123456789abcdef")
    assert path.parent == Path("run/evaluations/0123456789abcdef")
    assert path.name.startswith("test-")
    assert run_of("evaluation.protocol.seed=1").evaluation("0123456789abcdef") != path
    assert run_of("evaluation.benchmark=probe").evaluation("0123456789abcdef").name.startswith("probe-")
    assert run_of("evaluation.max_concurrent_sequences=3").evaluation("0123456789abcdef") == path


@pytest.mark.parametrize(
    "override",
    ["prompt_template='Q: {problem}'", "system_prompt=Be brief", "chat_template='{{ messages[0].content }}'"],
)
def test_how_a_problem_is_put_belongs_to_the_protocol(override: str) -> None:
    before, after = run_of(), run_of(f"data.{override}")
    assert before.evaluation("0123456789abcdef") != after.evaluation("0123456789abcdef")
    name = override.partition("=")[0]
    changed = {key for key in before.protocol if before.protocol[key] != after.protocol[key]}
    assert changed == {name}
    assert after.protocol[name] == getattr(after.config.data, name)


def test_where_everything_is() -> None:
    run = run_of()
    stage = run.stage(1)
    assert [str(path.relative_to("run")) for path in (run.config_file, run.data, run.base, stage.root, stage.metrics,
            stage.checkpoint(7), stage.rollouts, stage.hf, stage.summary, run.report)] == [
        "config.yaml", "data", "base", "stages/2-16k", "stages/2-16k/metrics.jsonl",
        "stages/2-16k/checkpoints/step_000007", "stages/2-16k/rollouts", "stages/2-16k/hf", "stages/2-16k/summary.json",
        "report.md",
    ]  # fmt: skip
