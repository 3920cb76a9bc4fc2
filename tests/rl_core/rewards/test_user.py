from pathlib import Path

import pytest

from rl_core.config import load_config
from rl_core.config.rewards import RewardConfig
from rl_core.errors import MistakeError
from rl_core.preflight import check_inputs
from rl_core.rewards import Scorer, user
from rl_core.run_dir import RunDir


def scorer(folder: Path, code: str, **settings: object) -> Scorer:
    file = folder / "reward.py"
    file.write_text(code)
    return Scorer([RewardConfig.model_validate({"file": str(file), **settings})])


def rewards(scorer: Scorer, *responses: str) -> list[float | None]:
    scores = scorer.score(responses, ["42"] * len(responses), [False] * len(responses))
    return [score.reward for score in scores]


def test_a_function_of_the_users_own_scores_and_is_named_after_itself(tmp_path: Path):
    code = "def length(response, gold, scale=1.0):\n    return len(response) * scale\n"
    mine = scorer(tmp_path, code, function="length", kwargs={"scale": 0.5})
    assert rewards(mine, "ab", "abcd") == [1.0, 2.0]
    assert mine.score(["ab"], ["1"], [False])[0].breakdown == {"length": 1.0}


def test_it_is_told_of_truncation_and_tokens_when_it_names_them(tmp_path: Path):
    code = "def score(response, gold, *, truncated, num_tokens):\n    return num_tokens if truncated else 0\n"
    found = scorer(tmp_path, code).score(["a", "b"], ["1", "1"], [True, False], [7, 8], [9, 9])
    assert [one.reward for one in found] == [7.0, 0.0]


def test_a_function_written_for_verl_is_called_as_it_expects(tmp_path: Path):
    code = (
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None, fallback=False):\n"
        "    return {'score': float(ground_truth in solution_str and fallback)}\n"
    )
    mine = scorer(tmp_path, code, function="compute_score", kwargs={"fallback": True})
    assert rewards(mine, "it is 42", "it is 41") == [1.0, 0.0]


def test_an_exception_names_the_sample_and_leaves_it_unscored(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    mine = scorer(tmp_path, "def score(response, gold):\n    return float(response)\n")
    assert rewards(mine, "1", "many", "3", "nan") == [1.0, None, 3.0, None]
    message = capfd.readouterr().err
    assert "'many'" in message
    assert "reward.py:2" in message


def test_too_many_exceptions_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(user, "MAX_FAILURES", 2)
    mine = scorer(tmp_path, "def score(response, gold):\n    raise KeyError(response)\n")
    with pytest.raises(MistakeError, match="3 samples could not be scored; the last by reward score: KeyError"):
        rewards(mine, "a", "b", "c")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def score(response):\n    return 1\n", "cannot be called as a reward"),
        ("def score(response, gold, judge):\n    return 1\n", "missing a required argument: 'judge'"),
        ("def other(response, gold):\n    return 1\n", "has no function `score`; its functions: other"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("def score(:\n", "SyntaxError"),
    ],
)
def test_a_function_that_cannot_work_is_refused_before_training(tmp_path: Path, code: str, message: str):
    with pytest.raises(MistakeError, match=message):
        scorer(tmp_path, code)


def test_keywords_that_the_function_does_not_take_are_refused(tmp_path: Path):
    with pytest.raises(MistakeError, match="unexpected keyword argument 'scale'"):
        scorer(tmp_path, "def score(response, gold):\n    return 1\n", kwargs={"scale": 2})


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(MistakeError, match="there is no file"):
        Scorer([RewardConfig(file=str(tmp_path / "none.py"))])


def test_it_is_refused_before_anything_starts(tmp_path: Path):
    config = load_config(None, [f"rewards=[{{file: {tmp_path}/none.py}}]"])
    with pytest.raises(MistakeError, match="there is no file"):
        check_inputs(RunDir(tmp_path / "run", config))


def test_the_identity_of_a_users_reward_changes_with_its_file(tmp_path: Path):
    file = tmp_path / "reward.py"
    file.write_text("def score(response, gold):\n    return 1\n")
    before = RewardConfig(file=str(file)).identity()
    assert RewardConfig(file=str(file)).identity() == before
    file.write_text("def score(response, gold):\n    return 2\n")
    assert RewardConfig(file=str(file)).identity() != before
    assert RewardConfig(name="boxed").identity() == {"name": "boxed", "weight": 1.0}
