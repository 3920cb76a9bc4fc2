from pathlib import Path

import pytest

from rl_core.errors import GuardStop, Interrupted, MistakeError
from tasks.failures import Failures, StageFailed, StageOutOfMemory, failure

LOG = Path("run/logs/train-8k.log")


def test_a_mistake_is_told_in_the_stage_s_own_words() -> None:
    error = failure("train 8k", 2, ["a warning", "error: data.train: holds no rows", "  give another file"], LOG)
    assert isinstance(error, MistakeError)
    assert str(error) == "data.train: holds no rows\n  give another file"


def test_a_mistake_without_words_points_to_the_log() -> None:
    assert str(failure("train 8k", 2, [], LOG)) == f"train 8k: refused its input; see {LOG}"


def test_a_guard_is_told_in_the_stage_s_own_words() -> None:
    error = failure("train 8k", 3, ["stopped: the loss is not finite at step 3"], LOG)
    assert isinstance(error, GuardStop)
    assert str(error) == "the loss is not finite at step 3"


@pytest.mark.parametrize(("ended", "exit_code"), [(130, 130), (-2, 130), (143, 143), (-15, 143)])
def test_an_interruption_is_no_failure(ended: int, exit_code: int) -> None:
    error = failure("train 8k", ended, [], LOG)
    assert isinstance(error, Interrupted)
    assert error.exit_code == exit_code


def test_anything_else_has_failed_with_its_last_lines() -> None:
    error = failure("train 8k", 1, ["RuntimeError: a worker was lost"], LOG)
    assert isinstance(error, StageFailed)
    assert (
        str(error)
        == f"train 8k ended with code 1; its last lines (all of them: {LOG}):\nRuntimeError: a worker was lost"
    )


def test_being_killed_is_named() -> None:
    assert str(failure("train 8k", -9, [], LOG)).startswith("train 8k was killed by SIGKILL (out of memory?)")


def test_out_of_memory_is_told_apart_since_less_at_a_time_may_fit() -> None:
    error = failure("train 8k", 4, ["out of memory: CUDA out of memory"], LOG)
    assert isinstance(error, StageOutOfMemory)
    assert str(error).startswith("train 8k ended with code 4 (out of memory); its last lines")


def test_what_fails_does_not_keep_the_rest_and_is_raised_in_the_end() -> None:
    failures = Failures()
    failures.raise_any()
    assert failures.told == ""
    with failures.of("one: base"):
        raise MistakeError("no such model")
    with pytest.raises(MistakeError, match=r"1 failed:\nno such model"):
        failures.raise_any()
    with failures.of("one: 8k"):
        raise FileNotFoundError("hf does not hold the model any more")
    with failures.of("one: 16k"):
        raise KeyError("digest")
    with pytest.raises(StageFailed) as raised:
        failures.raise_any()
    assert str(raised.value).splitlines() == [
        "3 failed:",
        "no such model",
        "one: 8k: FileNotFoundError: hf does not hold the model any more",
        "one: 16k: KeyError: 'digest'",
    ]


@pytest.mark.parametrize("error", [Interrupted(130), KeyboardInterrupt(), ValueError("made of an interruption")])
def test_an_interruption_and_what_may_have_been_one_go_on(error: BaseException) -> None:
    with pytest.raises(type(error)), Failures().of("one: base"):
        raise error
