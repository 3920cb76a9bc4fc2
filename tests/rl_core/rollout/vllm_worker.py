"""Runs vLLM's engine beside the transformers engine and writes what both say: `python -m ...vllm_worker FOLDER`.

vLLM changes the process that it runs in (threads, process groups), so it is tested in one of its own.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_core.environment import prepare_environment

prepare_environment()

import torch  # noqa: E402 - the environment is read when it is imported
from transformers import PreTrainedModel  # noqa: E402

from rl_core.config.rollout import VllmConfig  # noqa: E402
from rl_core.errors import GuardStop  # noqa: E402
from rl_core.rollout import vllm_engine  # noqa: E402
from rl_core.rollout.engine import Sampling  # noqa: E402
from rl_core.rollout.fingerprint import require_equal, tensor_fingerprint  # noqa: E402
from rl_core.rollout.transformers_engine import TransformersEngine  # noqa: E402
from rl_core.rollout.vllm_engine import VllmEngine  # noqa: E402
from rl_core.types import Completion, Request  # noqa: E402
from rl_core.world import World  # noqa: E402
from tests.rl_core.tiny import tiny_qwen2  # noqa: E402

CONTEXT = 64
ENDS = [1, 17, 29, 33]
PROMPTS = [(5, 6, 7), (8,), (9, 10, 11, 12, 13, 14, 15), (2, 3), (20, 21, 22, 23), (40, 41, 42, 43, 44), (30, 31)]
REQUESTS = [Request(PROMPTS[index % len(PROMPTS)], 4 + index % 20, 100 + index) for index in range(42)]


def model(*, seed: int, tied: bool) -> PreTrainedModel:
    made = tiny_qwen2(seed=seed, tied=tied, hidden_size=128, head_size=32)
    made.generation_config.eos_token_id = ENDS
    return made


def engine(policy: PreTrainedModel, folder: Path, world: World) -> VllmEngine:
    policy.save_pretrained(folder)
    return VllmEngine(
        folder,
        VllmConfig(),
        dtype=torch.float32,
        context_tokens=CONTEXT,
        max_concurrent_sequences=16,
        beside_learner=True,
        world=world,
    )


def said(completions: list[Completion]) -> list[dict[str, Any]]:
    return [
        {
            "tokens": completion.token_ids,
            "logprobs": completion.logprobs,
            "finish": completion.finish_reason,
            "version": completion.policy_version,
            "span": [completion.start_seconds, completion.end_seconds],
        }
        for completion in completions
    ]


def recomputed(policy: PreTrainedModel, completions: list[Completion], sampling: Sampling) -> list[list[float]]:
    """Log-probabilities of the distribution that was sampled from, by the plain formula."""
    rows = []
    for request, completion in zip(REQUESTS, completions, strict=True):
        tokens = torch.tensor([[*request.prompt_ids, *completion.token_ids]])
        with torch.no_grad():
            logits = policy(tokens).logits[0, len(request.prompt_ids) - 1 : -1]
        logprobs = (logits / (sampling.temperature or 1.0)).log_softmax(-1)
        if sampling.top_p < 1:
            logprobs = torch.stack([nucleus(row, sampling.top_p) for row in logprobs])
        rows.append(logprobs.gather(-1, torch.tensor(completion.token_ids).unsqueeze(-1)).squeeze(-1).tolist())
    return rows


def nucleus(logprobs: torch.Tensor, top_p: float) -> torch.Tensor:
    """Of the fewest likeliest tokens whose probabilities reach `top_p`, and -inf outside: [V] to [V]."""
    inside, mass = torch.full_like(logprobs, -torch.inf), 0.0
    for token in logprobs.argsort(descending=True).tolist():
        inside[token] = logprobs[token]
        mass += float(logprobs[token].exp())
        if mass >= top_p:
            break
    return inside.log_softmax(-1)


def expected(policy: PreTrainedModel) -> dict[str, int]:
    return {name: tensor_fingerprint(p) for name, p in policy.named_parameters(remove_duplicate=False)}


def weights(policy: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, parameter.detach()) for name, parameter in policy.named_parameters())


def compared(policy: PreTrainedModel, sampler: VllmEngine, version: int) -> str:
    try:
        require_equal(expected(policy), sampler.fingerprint(), policy_version=version)
    except GuardStop as stop:
        return str(stop)
    return "equal"


def generation(policy: PreTrainedModel, sampler: VllmEngine) -> dict[str, Any]:
    """The same requests under several distributions, and twice under the same."""
    report: dict[str, Any] = {}
    for name, sampling in {
        "plain": Sampling(),
        "warm": Sampling(temperature=0.7),
        "nucleus": Sampling(temperature=0.9, top_p=0.8),
        "greedy": Sampling(temperature=0.0),
    }.items():
        completions = sampler.generate(REQUESTS, sampling)
        report[name] = {"said": said(completions), "recomputed": recomputed(policy, completions, sampling)}
    ended: dict[int, Completion] = {}
    report["again"] = said(sampler.generate(REQUESTS, Sampling(logprobs=False), finished=ended.__setitem__))
    report["as they ended"] = said([ended[index] for index in range(len(REQUESTS))])
    oracle = TransformersEngine(policy, max_concurrent_sequences=64)
    report["oracle"] = said(oracle.generate(REQUESTS, Sampling(temperature=0.0)))
    return report


def synchronization(policy: PreTrainedModel, sampler: VllmEngine, *, tied: bool) -> dict[str, Any]:
    """Fingerprints before, while stale and after new weights, and the log-probabilities after."""
    report: dict[str, Any] = {"as loaded": compared(policy, sampler, 0)}
    other = model(seed=1, tied=tied)
    report["stale"] = compared(other, sampler, 1)
    sampler.load_weights(weights(other), 1)
    report["synchronized"] = compared(other, sampler, 1)
    completions = sampler.generate(REQUESTS, Sampling())
    report["after"] = {"said": said(completions), "recomputed": recomputed(other, completions, Sampling())}
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight[3, 5] += 1e-6
    report["one value off"] = compared(other, sampler, 2)
    renew, vllm_engine.renew_tied_head = vllm_engine.renew_tied_head, lambda _: None
    sampler.load_weights(weights(model(seed=2, tied=tied)), 3)
    report["head not renewed"] = compared(model(seed=2, tied=tied), sampler, 3)
    vllm_engine.renew_tied_head = renew
    return report


def main(folder: Path) -> None:
    world = World.join()
    policies = {"tied": model(seed=0, tied=True), "untied": model(seed=0, tied=False)}
    # Both before either is used, and both to the end: vLLM takes down what they share with the first that goes.
    samplers = {name: engine(policy, folder / name, world) for name, policy in policies.items()}
    report = {name: synchronization(policies[name], samplers[name], tied=name == "tied") for name in policies}
    samplers["tied"].load_weights(weights(policies["tied"]), 4)
    report["tied"] |= generation(policies["tied"], samplers["tied"])
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    samplers["tied"].close()
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
