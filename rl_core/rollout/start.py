"""The start of a sampler. vLLM is imported only where it is taken: that alone costs ten seconds."""

from pathlib import Path

from rl_core.config import RolloutConfig
from rl_core.config.models import PolicyConfig
from rl_core.models.load import compute_dtype, load_causal_lm
from rl_core.models.lora import add_adapter, unscaled
from rl_core.rollout.choose import Choice
from rl_core.rollout.engine import RolloutEngine
from rl_core.rollout.transformers_engine import TransformersEngine
from rl_core.world import World


def start_engine(
    choice: Choice,
    folder: Path,
    policy: PolicyConfig,
    rollout: RolloutConfig,
    *,
    context_tokens: int,
    max_concurrent_sequences: int,
    beside_learner: bool,
    world: World,
) -> RolloutEngine:
    """The chosen engine, holding the model in `folder`. With several ranks a collective call.

    Args:
        context_tokens: longest sequence, prompt and response together.
        max_concurrent_sequences: responses decoded together.
        beside_learner: whether a learner needs memory of the same device, and sends its adapter where it has one.

    Raises:
        MistakeError: the engine cannot be started with these settings or this model.
    """
    lora = policy.lora if beside_learner else None  # what is evaluated has no adapter any more
    if choice.engine == "transformers":
        model = load_causal_lm(folder, policy, world.device)
        if lora is not None:
            add_adapter(model, unscaled(lora))
        return TransformersEngine(model.to(world.device).eval(), max_concurrent_sequences=max_concurrent_sequences)
    from rl_core.rollout.vllm_engine import VllmEngine

    return VllmEngine(
        folder,
        rollout.vllm,
        dtype=compute_dtype(policy, world.device),
        context_tokens=context_tokens,
        max_concurrent_sequences=max_concurrent_sequences,
        beside_learner=beside_learner,
        world=world,
        lora=lora,
    )
