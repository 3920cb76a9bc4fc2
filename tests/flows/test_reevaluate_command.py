import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.team_server import TeamServer, wait_until
from tests.rl_core.leaderboard.synthetic_runs import add_checkpoint, end_stage, evaluate, model, new_run

REPOSITORY = Path(__file__).resolve().parents[2]


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


def test_before_the_first_run_there_is_nothing_to_evaluate(environment: dict[str, str], tmp_path: Path) -> None:
    done = command("--plan", environment=environment, folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"nothing to evaluate yet: {tmp_path / 'runs'} is not there\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "absent"], "no such folder: give the one that holds the runs"),
        (["runs=absent"], "no such folder: give the one that holds the runs"),
        (["--plan", "--runs", "absent"], "no such folder: give the one that holds the runs"),
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


@pytest.mark.slow
def test_a_regression_sets_off_the_automation_that_the_documentation_gives(team: TeamServer, tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs" / "one")
    end_stage(run, 0)
    (tmp_path / "right.json").write_text('{"hf": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}')
    stand_in = f"{sys.executable} {Path(__file__).with_name('stand_in_evaluations.py')}"
    created = team.command("prefect", "automation", "create", "--from-file", str(REPOSITORY / "docs/automations.yaml"))
    assert created.returncode == 0, created.stdout + created.stderr

    done = team.command(
        "flows.reevaluate", "--runs", str(tmp_path / "runs"), "--fail-on-regression",
        RL_CORE_COMMAND=stand_in, STAND_IN=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert "stopped: 1 became worse:\n  one: 8k solves 0.000 of test" in done.stderr

    def acted() -> list[str]:
        asked = {"filter": {"event": {"name": ["prefect.automation.action.executed"]}}, "limit": 50}
        events = team.post("/events/filter", asked)["events"]
        return [event["resource"]["prefect.resource.name"] for event in events]

    wait_until(lambda: "a checkpoint became worse" in acted(), "the automation", lambda: str(acted()))
