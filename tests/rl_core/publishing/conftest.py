"""A finished run with a small real model, and a hub that takes it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rl_core.config import dump_config
from rl_core.manifest import publishing
from rl_core.run_dir import RunDir
from tests.hub_server import HubServer
from tests.publishing_hub import PublishingHub
from tests.rl_core.report import synthetic_run
from tests.rl_core.tiny import tiny_qwen2

REPOSITORY = Path(__file__).resolve().parents[3]
REPO = "publish.repo=someone/model"
SHARD_BYTES = 10_000

Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def publishing_hub() -> Iterator[PublishingHub]:
    with HubServer(PublishingHub()) as server:
        yield server.hub


@pytest.fixture
def start(publishing_hub: PublishingHub, tmp_path: Path) -> Command:
    """Start `python -m ...` as a client of the hub; an empty value takes a variable out of its environment."""

    def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        variables = {**publishing_hub.environment(tmp_path / "hf"), "PYTHONPATH": str(REPOSITORY), **environment}
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env={name: value for name, value in {**os.environ, **variables}.items() if value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """All stages done; the last one's model in several shards, with an adapter beside it."""
    run = synthetic_run.write_run(synthetic_run.new_run(tmp_path / "run"))
    run.config_file.write_text(dump_config(run.config))
    with publishing(run.stage(2).hf, key=run.keys.hf(2)) as folder:
        tiny_qwen2().save_pretrained(folder, max_shard_size=SHARD_BYTES)
        (folder / "README.md").write_text("the folder's own card\n")
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"an adapter")
    synthetic_run.write_evaluation(run, 2)
    return run


@pytest.fixture
def publish(start: Command, run: RunDir) -> Callable[..., tuple[int, str, str]]:
    """Run the stage to its end: exit code, output, errors."""

    def publish(*overrides: str, **environment: str) -> tuple[int, str, str]:
        process = start_publishing(start, run, *overrides, **environment)
        output, errors = process.communicate()
        return process.returncode, output, errors

    return publish


def start_publishing(start: Command, run: RunDir, *overrides: str, **environment: str) -> "subprocess.Popen[str]":
    arguments = ("--config", str(run.config_file), "--run-dir", str(run.root))
    return start("rl_core", "publish", *arguments, REPO, *overrides, **environment)
