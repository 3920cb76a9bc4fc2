import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_core.config import EMBEDDED_PRESET, check_config, dump_config, load_config
from rl_core.errors import MistakeError
from rl_core.run_dir import RunDir

REPOSITORY = Path(__file__).resolve().parents[3]
PRESETS = sorted((REPOSITORY / "configs").glob("*.yaml"))


def refusal(*overrides: str) -> list[str]:
    """The lines of the message, without the one that names the file."""
    with pytest.raises(MistakeError) as refused:
        load_config(overrides=overrides)
    first, *lines = str(refused.value).splitlines()
    if not lines:
        return [first]
    assert first == f"{EMBEDDED_PRESET} is not a valid recipe:"
    return [line.removeprefix("  ") for line in lines]


@pytest.mark.parametrize("preset", PRESETS, ids=[preset.stem for preset in PRESETS])
def test_every_preset_loads_and_comes_back_from_its_resolved_form(preset: Path, tmp_path: Path) -> None:
    config = load_config(preset)
    assert config.name == preset.stem
    resolved = tmp_path / "config.yaml"
    resolved.write_text(dump_config(config), encoding="utf-8")
    assert load_config(resolved) == config
    assert check_config(config.model_dump(mode="json"), origin="here") == config


def test_there_are_the_presets_that_the_readme_speaks_of() -> None:
    assert {preset.stem for preset in PRESETS} >= {"embedded", "deepscaler_1_5b_nemo", "deepscaler_1_5b_paper"}


def test_the_digest_of_a_recipe_is_the_same_in_every_process() -> None:
    script = "from pathlib import Path; from rl_core.config import load_config; from rl_core.run_dir import RunDir; "
    command = [sys.executable, "-c", script + "print(RunDir(Path('x'), load_config()).keys.recipe())"]
    digests = {
        subprocess.run(
            command, cwd=REPOSITORY, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {RunDir(Path("y"), load_config()).keys.recipe()}


def test_overrides_reach_every_depth_and_lists_by_index() -> None:
    config = load_config(
        overrides=[
            "seed=7",
            "stages.1.steps=9",
            "policy.hf_config_overrides.rope_theta=1e6",
            "optimizer.betas=[0.8, 0.9]",
            "data.prompt_template='Q: {problem}='",
            "validation.num_problems=null",
            "tracking={wandb: disabled}",
        ]
    )
    assert (config.seed, config.stages[1].steps, config.stages[0].steps) == (7, 9, 25)
    assert config.policy.hf_config_overrides == {"rope_theta": "1e6"}  # YAML's floats have a dot
    assert config.optimizer.betas == (0.8, 0.9)
    assert config.data.prompt_template == "Q: {problem}="
    assert config.tracking.wandb == "disabled"


def test_a_number_in_scientific_notation_needs_no_dot_where_a_number_is_asked_for() -> None:
    assert load_config(overrides=["optimizer.learning_rate=2e-5"]).optimizer.learning_rate == 2e-5


def test_the_last_override_counts() -> None:
    assert load_config(overrides=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "override 'seed': expected key.path=value, for example stages.0.steps=100"),
        ("=3", "override '=3': expected key.path=value, for example stages.0.steps=100"),
        ("seed=[1", "override 'seed=[1': the value is not YAML; special characters need quotes"),
        ("seed=2020-13-45", "override 'seed=2020-13-45': the value is not YAML; special characters need quotes"),
        ("name.x=3", "override 'name.x=3': name holds no fields"),
        ("name.x.y=3", "override 'name.x.y=3': x is inside a value that holds no fields"),
        ("stages.3.steps=1", "override 'stages.3.steps=1': 3 is not an index of a list of 3 (0 is the first)"),
        ("stages.-1.steps=1", "override 'stages.-1.steps=1': -1 is not an index of a list of 3 (0 is the first)"),
        ("stages.x=1", "override 'stages.x=1': x is not an index of a list of 3 (0 is the first)"),
        ("stages.\u00b2=1", "override 'stages.\u00b2=1': \u00b2 is not an index of a list of 3 (0 is the first)"),
    ],
)
def test_an_override_that_is_none_is_explained(override: str, message: str) -> None:
    assert refusal(override) == [message]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sede=1", "sede: unknown key"),
        ("stages.0.step=1", "stages.0.step: unknown key"),
        ("optimizer.lr=1", "optimizer.lr: unknown key"),
        ("seed=abc", "seed: Input should be a valid integer, unable to parse string as an integer (received 'abc')"),
        ("seed=-1", "seed: Input should be greater than or equal to 0 (received -1)"),
        ("training.zero_stage=4", "training.zero_stage: Input should be 0, 1, 2 or 3 (received 4)"),
        ("stages.0.steps=null", "stages.0.steps: Input should be a valid integer (received None)"),
        ("algorithm.clip_low=2", "algorithm.clip_low: Input should be less than or equal to 1 (received 2)"),
        ("stages=3", "stages: Input should be a valid tuple (received 3)"),
        (
            "stages.0.rollout=3",
            "stages.0.rollout: Input should be a valid dictionary or instance of RolloutConfig (received 3)",
        ),
        ("rollout=3", "rollout: Input should be a valid dictionary or instance of RolloutConfig (received 3)"),
        ("stages=[]", "stages: Tuple should have at least 1 item after validation, not 0"),
        ("name=..", "name: String should match pattern '^[A-Za-z0-9_-][A-Za-z0-9_.-]*$' (received '..')"),
    ],
)  # fmt: skip
def test_a_value_that_is_refused_is_named_with_its_field_once(override: str, message: str) -> None:
    assert refusal(override) == [message]


def test_every_field_that_is_wrong_is_told_at_once() -> None:
    assert refusal("sede=1", "stages.1.steps=0") == [
        "stages.1.steps: Input should be greater than or equal to 1 (received 0)",
        "sede: unknown key",
    ]


def test_what_is_missing_is_said_to_be_required() -> None:
    values = yaml.safe_load(EMBEDDED_PRESET.read_text())
    del values["policy"], values["stages"][1]["max_response_tokens"]
    with pytest.raises(MistakeError) as refused:
        check_config(values, origin="here")
    assert str(refused.value).splitlines() == [
        "here is not a valid recipe:",
        "  policy: required, but not given",
        "  stages.1.max_response_tokens: required, but not given",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "holds no settings (expected `key: value` lines)"),
        (b"- a\n- b\n", "holds no settings (expected `key: value` lines)"),
        (b"a: [1\n", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_explained(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "recipe.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MistakeError) as refused:
        load_config(file)
    assert str(refused.value).startswith(f"--config {file}: {message}")


@settings(max_examples=40)
@given(st.text(max_size=30), st.text(max_size=10))
def test_no_override_ends_in_anything_but_a_recipe_or_a_message(path: str, value: str) -> None:
    for override in (f"{path}={value}", f"stages.0.{path}={value}", f"rollout.num_prompts={value}"):
        with suppress(MistakeError):
            load_config(overrides=[override])
