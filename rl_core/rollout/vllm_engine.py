"""The vLLM engine: the one that is meant, in the learner's own process, on GPUs and on CPUs.

vLLM batches continuously and keeps weights and cache on the device, which it gives back while the learner works.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import GenerationConfig
from vllm import LLM, RequestOutput, SamplingParams
from vllm.lora.request import LoRARequest

from rl_core.config.models import LoraConfig
from rl_core.config.rollout import VllmConfig
from rl_core.errors import MistakeError
from rl_core.models.load import end_ids
from rl_core.progress import Progress, beat
from rl_core.rollout.engine import Finished, NamedTensors, Sampling
from rl_core.rollout.fingerprint import Fingerprints
from rl_core.rollout.vllm_adapter import adapter_arguments, adapter_fingerprints, load_adapter
from rl_core.rollout.vllm_settings import engine_arguments
from rl_core.rollout.vllm_weights import model_fingerprints, renew_tied_head
from rl_core.types import Completion, Request
from rl_core.world import World

# Levels of sleep.
KEEP = 1  # weights wait in the host's memory: of a policy with an adapter only that arrives
DISCARD = 2  # nothing is kept, since the learner's weights arrive before the next generation


class VllmEngine:
    """Samples with vLLM; see `rl_core.rollout.engine.RolloutEngine`."""

    def __init__(
        self,
        folder: Path,
        settings: VllmConfig,
        *,
        dtype: torch.dtype,
        context_tokens: int,
        max_concurrent_sequences: int,
        beside_learner: bool,
        world: World,
        lora: LoraConfig | None = None,
    ) -> None:
        """Args:
        folder: the model, as a Hugging Face folder.
        context_tokens: longest sequence, prompt and response together.
        max_concurrent_sequences: responses decoded together.
        beside_learner: whether a learner needs memory of the same device.
        lora: the adapter whose weights will be loaded; None: all of the model's.

        Raises:
            MistakeError: the model does not say which token ends a response, or vLLM refuses the settings.
        """
        arguments = engine_arguments(
            folder,
            settings,
            dtype=dtype,
            context_tokens=context_tokens,
            max_concurrent_sequences=max_concurrent_sequences,
            beside_learner=beside_learner,
            world=world,
        )
        if lora is not None:
            arguments |= adapter_arguments(lora)
        self.ranks_per_engine = settings.tensor_parallel_size
        self._end_ids = end_ids(GenerationConfig.from_pretrained(folder))
        try:
            self._llm = LLM(**arguments)
        except (ValueError, TypeError) as refusal:
            raise MistakeError(f"rollout.vllm: vLLM does not start with these settings: {refusal}") from refusal
        self._can_sleep: bool = arguments["enable_sleep_mode"]
        self._asleep: set[str] = set()
        self._policy_version = 0
        self._lora = lora
        self._adapter: LoRARequest | None = None  # before the first one arrives it would change nothing

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        finished: Finished | None = None,
    ) -> list[Completion]:
        """One completion for each request, in their order."""
        self.wake()
        start = time.monotonic()
        names = self._llm.enqueue(
            [{"prompt_token_ids": list(request.prompt_ids)} for request in requests],
            [self._sampling_params(request, sampling) for request in requests],
            lora_request=self._adapter,
            use_tqdm=False,
        )
        # Outputs carry vLLM's number of a request, counted up as they are enqueued; names, a random part behind it.
        first = int(names[0].partition("-")[0]) if names else 0
        completions: dict[int, Completion] = {}
        engine = self._llm.llm_engine
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    index = int(output.request_id) - first
                    completions[index] = self._completion(output, start)
                    if finished:
                        finished(index, completions[index])
            beat()
            if progress:
                progress.update(len(completions))
        return [completions[index] for index in range(len(requests))]

    def load_weights(self, weights: NamedTensors, policy_version: int) -> None:
        """Pass the weights on to vLLM, which fuses and splits them as it needs. Wakes what they go into."""
        self._wake("weights")
        if self._lora is None:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
            self._llm.apply_model(renew_tied_head)
        else:
            self._adapter = load_adapter(self._llm, weights, self._lora)
        self._llm.reset_prefix_cache()
        self._policy_version = policy_version

    def fingerprint(self) -> Fingerprints:
        """By the policy's own names, a tied output head under a name of its own."""
        fingerprints: Fingerprints = self._llm.apply_model(model_fingerprints)[0]
        if self._adapter is not None:
            fingerprints |= self._llm.apply_model(adapter_fingerprints)[0]
        return fingerprints

    def sleep(self) -> None:
        """Give back the device's memory, weights and cache, where vLLM can; nothing on a CPU."""
        if self._can_sleep and not self._asleep:
            self._llm.sleep(level=DISCARD if self._lora is None else KEEP)
            self._asleep = {"weights", "kv_cache"}

    def wake(self) -> None:
        """Take the memory again. After a sleep, `load_weights` comes first."""
        for part in sorted(self._asleep):
            self._wake(part)

    def close(self) -> None:
        """End vLLM's engine. vLLM ends the process's torch.distributed with it: nothing collective comes after."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm

    def _wake(self, part: str) -> None:
        if part in self._asleep:
            torch.accelerator.empty_cache()  # what the learner freed, and torch keeps
            self._llm.wake_up(tags=[part])
            self._asleep.discard(part)

    def _sampling_params(self, request: Request, sampling: Sampling) -> SamplingParams:
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=request.seed,
            max_tokens=request.max_new_tokens,
            stop_token_ids=self._end_ids,
            logprobs=0 if sampling.logprobs else None,  # of the sampled token alone
            flat_logprobs=True,
            detokenize=False,
        )

    def _completion(self, output: RequestOutput, start: float) -> Completion:
        (response,) = output.outputs
        return Completion(
            token_ids=list(response.token_ids),
            logprobs=list(response.logprobs.logprobs) if response.logprobs is not None else [],
            finish_reason="stop" if response.finish_reason == "stop" else "length",
            policy_version=self._policy_version,
            start_seconds=output.metrics.scheduled_ts - start,
            end_seconds=output.metrics.last_token_ts - start,
        )
