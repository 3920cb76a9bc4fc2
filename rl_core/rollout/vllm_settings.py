"""What vLLM is started with: derived from the recipe, `rollout.vllm.engine_args` added to it."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from rl_core.config.rollout import VllmConfig
from rl_core.errors import MistakeError
from rl_core.world import World

FIELD = "rollout.vllm.engine_args"
OURS = {  # argument of vLLM -> where the recipe decides it
    "model": "policy.model_name",
    "dtype": "policy.dtype",
    "max_model_len": "the stage's max_prompt_tokens and max_response_tokens",
    "max_num_seqs": "rollout.max_concurrent_sequences",
    "tensor_parallel_size": "rollout.vllm.tensor_parallel_size",
    "gpu_memory_utilization": "rollout.vllm.gpu_memory_utilization",
    "logprobs_mode": "nothing: log-probabilities are of the distribution that is sampled from",
    "distributed_executor_backend": "nothing: the engine runs in the trainer's processes",
    "skip_tokenizer_init": "nothing: text is made by the trainer",
    "enable_lora": "policy.lora",
    "max_loras": "policy.lora",
    "max_lora_rank": "policy.lora.rank",
    "lora_dtype": "policy.dtype",
    "lora_target_modules": "policy.lora.target_modules",
    "fully_sharded_loras": "nothing yet: what each device then holds of an adapter cannot be compared",
    "quantization": "nothing yet: a quantized sampler does not hold the learner's weights",
}
ALONE = 0.9  # share of a device's memory where no learner is; vLLM's own default
PREFILL_TOKENS = 4096  # prompt tokens read together on a CPU, where none is longer
BLOCK_TOKENS = 128  # of vLLM's cache on a CPU, where a sequence ends in half of one on average


def engine_arguments(
    folder: Path,
    settings: VllmConfig,
    *,
    dtype: torch.dtype,
    context_tokens: int,
    max_concurrent_sequences: int,
    beside_learner: bool,
    world: World,
) -> dict[str, Any]:
    """The arguments of `vllm.LLM`.

    Raises:
        MistakeError: `rollout.vllm.engine_args` sets what the recipe decides itself.
    """
    for name, ours in OURS.items():
        if name in settings.engine_args:
            raise MistakeError(f"{FIELD}.{name}: decided by {ours}")
    arguments: dict[str, Any] = {
        "model": str(folder),
        "dtype": str(dtype).removeprefix("torch."),
        "max_model_len": context_tokens,
        "max_num_seqs": max_concurrent_sequences,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "gpu_memory_utilization": settings.gpu_memory_utilization if beside_learner else ALONE,
        "logprobs_mode": "processed_logprobs",
        "skip_tokenizer_init": True,
        "disable_log_stats": False,  # when each response began and ended
        "enable_sleep_mode": world.device.type == "cuda",
        "use_tqdm_on_load": False,
        "seed": 0,  # of vLLM's own generator, which no request uses: each has its own
    }
    if "RANK" in os.environ:
        arguments["distributed_executor_backend"] = "external_launcher"
    if world.device.type == "cpu":
        arguments |= {
            "enforce_eager": True,  # compiling takes a minute a start, and gains little on what a CPU can train
            "kv_cache_memory_bytes": _cache_bytes(folder, dtype, context_tokens, max_concurrent_sequences),
            # A prompt read in two parts makes vLLM 0.32 rewind the request's generator, which those of a CPU cannot.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(context_tokens, PREFILL_TOKENS),
        }
    return arguments | settings.engine_args


def _cache_bytes(folder: Path, dtype: torch.dtype, context_tokens: int, max_concurrent_sequences: int) -> int:
    """What the cache needs for all sequences at their longest: on a CPU vLLM would take a share of all memory."""
    model = AutoConfig.from_pretrained(folder).get_text_config()
    head_size = getattr(model, "head_dim", None) or model.hidden_size // model.num_attention_heads
    per_token = 2 * model.num_hidden_layers * model.num_key_value_heads * head_size * dtype.itemsize
    return int(per_token * (context_tokens + BLOCK_TOKENS) * max_concurrent_sequences)
