import subprocess
import sys
from pathlib import Path

import pytest

from tests.rl_core.leaderboard.synthetic_runs import add_checkpoint, evaluate, model, new_run


def command(*arguments: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.reevaluate", *arguments],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_plan_says_what_is_to_be_done_and_does_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs" / "one")
    add_checkpoint(run, 0, 10)
    evaluate(run, model(run, "base").results[0].name, [1])
    before = sorted(tmp_path.rglob("*"))
    done = command("--plan", environment=environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [" ".join(line.replace("│", " ").split()) for line in done.stdout.splitlines() if "one" in line] == [
        "one base 0 done",
        "one 8k step 10 10 to do",
    ]
    without = command("--plan", "checkpoints=stages", environment=environment, folder=tmp_path)
    assert "left out" in without.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "absent"], "no such folder: give the one that holds the runs"),
        (["--config", "absent.yaml"], "--config absent.yaml: no such file"),
        (["--runs", ".", "alarm.rate=0.1"], "alarm.rate: unknown key"),
        (["--runs", ".", "benchmark=absent.json"], "benchmark is 'absent.json': no such file"),
        (["--runs", ".", "protocol=papers"], "protocol.base: Input should be"),
    ],
)
def test_a_mistake_ends_with_one_message_and_nothing_started(
    arguments: list[str], message: str, environment: dict[str, str], tmp_path: Path
) -> None:
    done = command(*arguments, environment=environment, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
