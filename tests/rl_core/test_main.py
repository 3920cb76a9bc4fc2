"""Exit codes and messages of `python -m rl_core <stage>`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_core import __main__ as command
from rl_core import commands
from rl_core.errors import GuardStop, Interrupted, MistakeError
from rl_core.run_dir import RunDir

REPOSITORY = Path(__file__).resolve().parents[2]


def ending_in(problem: BaseException | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *more: str) -> int:
    """The exit code where the stage `prepare` ends with `problem`."""

    def do(run: RunDir, _: object) -> None:
        assert run.root == tmp_path
        if problem is not None:
            raise problem

    monkeypatch.setitem(commands.STAGES, "prepare", (do, "for this test"))
    return command.main(["prepare", "--run-dir", str(tmp_path), *more])


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        (None, 0, ""),
        (MistakeError("a field is wrong"), 2, "error: a field is wrong\n"),
        (GuardStop("the loss is nan"), 3, "stopped: the loss is nan\n"),
        (Interrupted(), 143, ""),
        (Interrupted(130), 130, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_every_way_to_end_has_its_exit_code_and_one_message(
    problem: BaseException | None,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ending_in(problem, monkeypatch, tmp_path) == code
    assert capsys.readouterr().err == message


def test_a_failure_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        ending_in(ZeroDivisionError(), monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "error: --stage N is needed: which stage of the recipe, counted from 0\n"),
        (("train", "--stage", "3"), "error: --stage 3: the recipe has 3 stages, counted from 0\n"),
        (("train", "--stage", "-1"), "error: --stage -1: the recipe has 3 stages, counted from 0\n"),
        (("prepare", "seed"), "error: override 'seed': expected key.path=value, for example stages.0.steps=100\n"),
        (("prepare", "--config", "absent.yaml"), "error: --config absent.yaml: no such file\n"),
        (("evaluate", "--stage", "sft"), "error: --stage sft: the recipe has no section `sft`\n"),
        (
            ("train", "--stage", "sft", "sft={data: {source: embedded}, max_tokens: 160}"),
            "error: --stage sft: its training is a command of its own: `python -m rl_core sft`\n",
        ),
        (("sft",), "error: sft: the recipe has no such section\n"),
        (
            ("evaluate", "--protocol", "nemo", "--num-samples", "64", "--output", "x"),
            "error: --protocol does nothing without --model-dir or --data-name: give that too, or leave it out\n",
        ),
        (
            ("evaluate", "--output", "x"),
            "error: --output does nothing without --model-dir or --data-name: give that too, or leave it out\n",
        ),
        (
            ("convert", "--stage", "0", "--hf-ckpt-path", "x", "--base-model", "nonsense"),
            "error: --hf-ckpt-path does nothing without --step or --dcp-ckpt-path: give that too, or leave it out\n",
        ),
        (
            ("convert", "--stage", "0", "--step", "3", "--hf-ckpt-path", "x", "--base-model", "nonsense"),
            "error: --base-model does nothing without --dcp-ckpt-path: give that too, or leave it out\n",
        ),
        *(
            (
                ("convert", *of_a_stage, "--dcp-ckpt-path", "/absent", "--hf-ckpt-path", "x"),
                f"error: {of_a_stage[0]} is for a checkpoint of a run, and --dcp-ckpt-path for one of none\n",
            )
            for of_a_stage in (("--stage", "0"), ("--step", "3"))
        ),
    ],
)
def test_a_mistake_on_the_command_line_is_told_before_anything_is_made(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([arguments[0], "--run-dir", str(tmp_path / "run"), *arguments[1:]]) == 2
    assert capsys.readouterr().err == message
    assert not (tmp_path / "run").exists()


def test_a_mistake_is_told_without_a_traceback_by_the_command_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rl_core", "train", "--stage", "0", "--run-dir", str(tmp_path / "run"), "sede=1"],
        cwd=REPOSITORY,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0].startswith("error: ")
    assert done.stderr.splitlines()[1:] == ["  sede: unknown key"]
    assert not (tmp_path / "run").exists()
