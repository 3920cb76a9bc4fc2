"""vLLM's real engine, in a process of its own (`vllm_worker`), against plain formulas and the transformers engine."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.rl_core.rollout.vllm_worker import ENDS, REQUESTS

pytestmark = pytest.mark.slow

ROUNDING = 1e-4  # of float32, in logits of some 30


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("vllm")
    command = [sys.executable, "-m", "tests.rl_core.rollout.vllm_worker", str(folder)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("distribution", ["plain", "warm", "nucleus", "greedy", "after"])
def test_log_probabilities_are_of_the_distribution_that_was_sampled_from(
    report: dict[str, Any], distribution: str
) -> None:
    said, recomputed = report["tied"][distribution]["said"], report["tied"][distribution]["recomputed"]
    for completion, logprobs in zip(said, recomputed, strict=True):
        assert completion["logprobs"] == pytest.approx(logprobs, abs=ROUNDING)


def test_a_request_of_the_same_seed_is_answered_the_same_way(report: dict[str, Any]) -> None:
    first, again = report["tied"]["plain"]["said"], report["tied"]["again"]
    assert [completion["tokens"] for completion in first] == [completion["tokens"] for completion in again]
    by_prompt: dict[tuple[int, ...], set[str]] = {}
    for request, completion in zip(REQUESTS, first, strict=True):
        by_prompt.setdefault(request.prompt_ids, set()).add(str(completion["tokens"][:1]))
    assert all(len(answers) > 1 for answers in by_prompt.values()), "requests of other seeds should differ"


def test_each_completion_is_told_at_its_place_as_it_ends(report: dict[str, Any]) -> None:
    assert report["tied"]["as they ended"] == report["tied"]["again"]
    assert {len(completion["logprobs"]) for completion in report["tied"]["again"]} == {0}  # as it was asked for


def test_greedy_decoding_is_the_transformers_engines(report: dict[str, Any]) -> None:
    vllm, oracle = report["tied"]["greedy"]["said"], report["tied"]["oracle"]
    assert [completion["tokens"] for completion in vllm] == [completion["tokens"] for completion in oracle]
    assert [completion["finish"] for completion in vllm] == [completion["finish"] for completion in oracle]


def test_responses_end_with_an_end_token_or_at_their_own_limit(report: dict[str, Any]) -> None:
    said = report["tied"]["plain"]["said"]
    for request, completion in zip(REQUESTS, said, strict=True):
        inside, last = completion["tokens"][:-1], completion["tokens"][-1]
        assert not set(ENDS) & set(inside)
        assert len(completion["logprobs"]) == len(completion["tokens"]) <= request.max_new_tokens
        if completion["finish"] == "stop":
            assert last in ENDS
        else:
            assert last not in ENDS
            assert len(completion["tokens"]) == request.max_new_tokens
    assert {completion["finish"] for completion in said} == {"stop", "length"}


def test_responses_carry_the_weights_version_and_when_they_were_under_way(report: dict[str, Any]) -> None:
    said = report["tied"]["plain"]["said"]
    assert {completion["version"] for completion in said} == {4}
    assert {completion["version"] for completion in report["tied"]["after"]["said"]} == {1}
    assert all(0 <= completion["span"][0] <= completion["span"][1] for completion in said)
    # 42 requests, 16 at a time: some begin after others have ended.
    assert max(completion["span"][0] for completion in said) > min(completion["span"][1] for completion in said)


@pytest.mark.parametrize("head", ["tied", "untied"])
def test_fingerprints_tell_the_learners_weights_from_all_others(report: dict[str, Any], head: str) -> None:
    found = report[head]
    assert found["as loaded"] == "equal"
    assert "22 of 27 tensors differ" in found["stale"]  # the norms of both models are ones
    assert found["synchronized"] == "equal"
    assert "1 of 27 tensors differ, first model.layers.1.mlp.up_proj.weight" in found["one value off"]


def test_an_output_head_that_stays_behind_its_embedding_is_seen(report: dict[str, Any]) -> None:
    assert "1 of 27 tensors differ, first lm_head.weight" in report["tied"]["head not renewed"]
    assert report["untied"]["head not renewed"] == "equal"  # nothing to renew
