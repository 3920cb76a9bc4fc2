"""Adapters in vLLM's real engine, in a process of its own (`vllm_lora_worker`): arrived, used, and missed if not."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.rl_core.rollout.vllm_lora_worker import ADAPTERS

pytestmark = pytest.mark.slow

ROUNDING = 1e-4  # of float32, in logits of some 30
NUM_SENT = {"all layers": 28, "some": 12}  # A and B of 7 and of 3 layers, in 2 blocks
NUM_COMPARED = {"all layers": 55, "some": 39}  # and the 27 tensors of the base


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("vllm")
    command = [sys.executable, "-m", "tests.rl_core.rollout.vllm_lora_worker", str(folder)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def worst_difference(answers: dict[str, Any], other: str) -> float:
    pairs = [
        (said, recomputed)
        for completion, row in zip(answers["said"], answers[other], strict=True)
        for said, recomputed in zip(completion["logprobs"], row, strict=True)
    ]
    return max(abs(said - recomputed) for said, recomputed in pairs)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("which", ["first", "second"])
def test_requests_are_answered_with_the_adapter_that_came_last(
    report: dict[str, Any], adapter: str, which: str
) -> None:
    assert worst_difference(report[adapter][which], "recomputed") < ROUNDING
    assert worst_difference(report[adapter][which], "without") > 1


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_before_any_adapter_came_the_model_below_answers(report: dict[str, Any], adapter: str) -> None:
    assert worst_difference(report[adapter]["before"], "without") < ROUNDING


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_fingerprints_say_that_an_adapter_arrived(report: dict[str, Any], adapter: str) -> None:
    assert report[adapter]["first arrived"] == report[adapter]["second arrived"] == "equal"


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("fault", ["never arrived", "stale", "taken out"])
def test_an_adapter_that_is_not_there_is_seen(report: dict[str, Any], adapter: str, fault: str) -> None:
    assert f"{NUM_SENT[adapter]} of {NUM_COMPARED[adapter]} tensors differ" in report[adapter][fault]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_one_value_of_an_adapter_is_seen(report: dict[str, Any], adapter: str) -> None:
    expected = f"1 of {NUM_COMPARED[adapter]} tensors differ, first model.layers.1.mlp.down_proj.lora_B.weight"
    assert expected in report[adapter]["one value off"]


def test_a_scale_that_is_applied_twice_is_seen(report: dict[str, Any]) -> None:
    assert "14 of 55 tensors differ" in report["all layers"]["scaled twice"]
    assert report["some"]["scaled twice"] == "equal"  # alpha is its rank
