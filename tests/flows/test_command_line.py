import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("prefect", "torch", "transformers", "deepspeed", "vllm", "pandas")


def command(*arguments: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.deepscaler_recipe", *arguments],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [["--plan"], ["--plan", "seed=3"], ["--plan", "--rehearse"], ["nothing_like_this=1"]]
)
def test_plans_and_mistakes_are_answered_without_anything_heavy(
    arguments: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    script = (
        "import json, sys; from flows.command_line import main\n"
        f"main({arguments!r})\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert list(tmp_path.iterdir()) == []


def test_the_plan_shows_the_stages_and_what_is_left_to_do(environment: dict[str, str], tmp_path: Path) -> None:
    done = command("--plan", "stages.1.steps=77", environment=environment, folder=tmp_path)
    assert done.returncode == 0
    assert "16k" in done.stdout
    assert "77" in done.stdout
    assert "32 x 8" in done.stdout
    assert done.stdout.count("to do") == 14


def test_a_rehearsal_says_what_is_scaled_and_what_is_kept_and_runs_in_a_folder_of_its_own(
    environment: dict[str, str], tmp_path: Path
) -> None:
    preset = REPOSITORY / "configs" / "deepscaler_1_5b_nemo.yaml"
    arguments = ["--config", str(preset), "--rehearse", "--plan", "algorithm.clip_low=0.17"]
    done = command(*arguments, "rehearsal.stages.1.steps=7", environment=environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    scaled, kept, plan = done.stdout.partition("Kept")[0], *done.stdout.partition("Kept")[2].split("rehearsal of ")[:2]
    assert "rehearsal of deepscaler_1_5b_nemo, at toy size: it needs no accelerator" in scaled
    assert re.search(r"stages\.\*\.steps +│ 240, 290, 50 +│ 20, 7, 20 +│ asked for", scaled)
    assert re.search(r"stages\.\*\.max_response_tokens +│ 8192, 16384, 24576 +│ 32, 64, 96", scaled)
    assert "16 updates a step" in kept
    assert "clip_low 0.17" in kept
    assert plan.startswith("deepscaler_1_5b_nemo: deepscaler_1_5b_nemo-rehearsal")
    assert "runs/deepscaler_1_5b_nemo-rehearsal/stages/2-16k" in plan
    assert not (tmp_path / "runs").exists()


def test_texts_of_a_recipe_that_look_like_markup_are_shown_as_they_are(
    environment: dict[str, str], tmp_path: Path
) -> None:
    template = "data.prompt_template='[INST] {problem} [/INST]'"
    arguments = ["--config", str(REPOSITORY / "configs" / "ppo_qwen2_5_7b.yaml"), "--rehearse", "--plan", template]
    done = command(*arguments, environment=environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[INST] {problem} [/INST]" in done.stdout


def test_help_names_the_options(environment: dict[str, str], tmp_path: Path) -> None:
    done = command("--help", environment=environment, folder=tmp_path)
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("--config", "--run-dir", "--plan", "--rehearse", "key=value"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainig.zero_stage=1"], "trainig: unknown key"),
        (["seed=many"], "seed: Input should be a valid integer"),
        (["--config", "absent.yaml"], "--config absent.yaml: no such file"),
        (
            ["embedded.context_tokens=128"],
            "stages.2: 160 tokens of prompt and response, but the model's context is 128",
        ),
        (["data.train.source=path", "data.train.path=absent.json"], "no such file or folder"),
        (["data.train.source=path", "data.train.path=empty.json"], "holds no rows"),
        (["data.train.source=path", "data.train.path=torn.parquet"], "cannot be read as parquet"),
        (["data.test.source=path", "data.test.path=rows.json"], "data.test.problem_column is 'problem'"),
        (["embedded.context_tokens=2048", "policy.model_name=./absent"], "no such folder"),
        (["policy.model_name=./model"], "stages.0: 96 tokens of prompt and response, but the context of ./model is 64"),
        (["--run-dir", "empty.json"], "cannot be used as a folder"),
        (["rehearsal.stages.0.steps=2"], "rehearsal: unknown key"),
        (["--rehearse", "stages.0.steps=none"], "stages.0.steps: Input should be a valid integer"),
        (["--rehearse", "rehearsal.stages.0.step=2"], "the rehearsal of embedded is not a valid recipe"),
        (["--rehearse", "data.chat_template='{{ messages'"], "data.chat_template: not Jinja, in line 1"),
    ],
)
def test_a_mistake_ends_with_one_message_and_nothing_started(
    arguments: list[str], message: str, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "rows.json").write_text('[{"question": "1+1", "answer": "2"}]')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"max_position_embeddings": 64}')
    (tmp_path / "model" / "model.safetensors").touch()

    done = command(*arguments, environment=environment, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_server_that_does_not_answer_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    done = command(environment={**environment, "PREFECT_API_URL": "http://127.0.0.1:9/api"}, folder=tmp_path)
    assert done.returncode == 2
    assert "PREFECT_API_URL=http://127.0.0.1:9/api: no Prefect server answers there" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_prefect_settings_hold_in_every_folder(tmp_path: Path) -> None:
    script = (
        "from flows.settings import apply_prefect_settings; apply_prefect_settings()\n"
        "from prefect.settings import get_current_settings; settings = get_current_settings()\n"
        "print(settings.home, settings.results.local_storage_path, settings.server.memo_store_path,"
        " settings.server.analytics_enabled, settings.flows.heartbeat_frequency)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    state = REPOSITORY / ".prefect"
    assert done.stdout.split() == [str(state), str(state / "results"), str(state / "memo_store.toml"), "False", "60"]
