"""Gives adapters to vLLM's engine and writes what it holds and says: `python -m ...vllm_lora_worker FOLDER`.

In a process of its own for the reason that `vllm_worker` has.
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

from rl_core.config.models import LoraConfig  # noqa: E402
from rl_core.config.rollout import VllmConfig  # noqa: E402
from rl_core.errors import GuardStop  # noqa: E402
from rl_core.models.lora import add_adapter, name_without_peft, only_adapter, with_scale  # noqa: E402
from rl_core.rollout import vllm_adapter, vllm_engine  # noqa: E402
from rl_core.rollout.engine import Sampling  # noqa: E402
from rl_core.rollout.fingerprint import require_equal, tensor_fingerprint  # noqa: E402
from rl_core.rollout.vllm_engine import VllmEngine  # noqa: E402
from rl_core.world import World  # noqa: E402
from tests.rl_core.rollout.vllm_worker import CONTEXT, REQUESTS, model, recomputed, said  # noqa: E402

ADAPTERS = {
    "all layers": LoraConfig(rank=3, alpha=5),  # of the 8 ranks that vLLM has room for; a scale that rounds
    "some": LoraConfig(rank=8, alpha=8, target_modules=("q_proj", "v_proj", "down_proj")),
}


def adapted(lora: LoraConfig, *, seed: int) -> PreTrainedModel:
    """The base of all adapters here, with one whose every value is drawn from `seed`."""
    policy = model(seed=0, tied=True)
    add_adapter(policy, lora)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return policy


def weights(policy: PreTrainedModel, lora: LoraConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """What a learner sends."""
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            name = name_without_peft(name)
            yield name, with_scale(name, parameter.detach(), lora)


def compared(policy: PreTrainedModel, sampler: VllmEngine, lora: LoraConfig) -> str:
    held = {name_without_peft(n): tensor_fingerprint(p) for n, p in policy.named_parameters(remove_duplicate=False)}
    held |= {name: tensor_fingerprint(tensor) for name, tensor in weights(policy, lora)}
    try:
        require_equal(held, sampler.fingerprint(), policy_version=1)
    except GuardStop as stop:
        return str(stop)
    return "equal"


def answers(policy: PreTrainedModel, sampler: VllmEngine) -> dict[str, Any]:
    completions = sampler.generate(REQUESTS, Sampling())
    report = {"said": said(completions), "recomputed": recomputed(policy, completions, Sampling())}
    with only_adapter(policy, None):
        return {**report, "without": recomputed(policy, completions, Sampling())}


def exchange(lora: LoraConfig, sampler: VllmEngine) -> dict[str, Any]:
    """An adapter after another, and the ways in which one fails to arrive."""
    first, second, third = (adapted(lora, seed=seed) for seed in (1, 2, 3))
    report: dict[str, Any] = {"before": answers(first, sampler), "never arrived": compared(first, sampler, lora)}
    sampler.load_weights(weights(first, lora), 1)
    report |= {"first": answers(first, sampler), "first arrived": compared(first, sampler, lora)}
    sampler.load_weights(weights(second, lora), 2)
    report |= {"second": answers(second, sampler), "second arrived": compared(second, sampler, lora)}
    report["stale"] = compared(third, sampler, lora)
    with torch.no_grad():
        second.model.layers[1].mlp.down_proj.lora_B["default"].weight[3, 2] += 1e-6
    report["one value off"] = compared(second, sampler, lora)
    as_it_is, vllm_adapter.unscaled = vllm_adapter.unscaled, lambda given: given
    sampler.load_weights(weights(third, lora), 3)
    vllm_adapter.unscaled = as_it_is
    report["scaled twice"] = compared(third, sampler, lora)
    sampler._llm.llm_engine.remove_lora(vllm_adapter.NUMBER)
    report["taken out"] = compared(third, sampler, lora)
    return report


def main(folder: Path) -> None:
    world = World.join()
    model(seed=0, tied=True).save_pretrained(folder)
    samplers = {
        name: vllm_engine.VllmEngine(
            folder,
            VllmConfig(),
            dtype=torch.float32,
            context_tokens=CONTEXT,
            max_concurrent_sequences=16,
            beside_learner=True,
            world=world,
            lora=lora,
        )
        for name, lora in ADAPTERS.items()
    }
    report = {name: exchange(lora, samplers[name]) for name, lora in ADAPTERS.items()}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    samplers["some"].close()
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
