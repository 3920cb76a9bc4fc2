"""The transformers engine: small and exact. Runs where vLLM is not installed, and is the oracle it is compared with.

What happens to one batch is in `rl_core.rollout.decoding`.
"""

import time
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel

from rl_core.models.load import end_ids
from rl_core.models.lora import name_without_peft
from rl_core.progress import Progress
from rl_core.rollout.decode_attention import use_decode_attention
from rl_core.rollout.decoding import Decoding
from rl_core.rollout.engine import Finished, NamedTensors, Sampling
from rl_core.rollout.fingerprint import Fingerprints, tensor_fingerprint
from rl_core.types import Completion, Request

MAX_PROMPT_TOKENS = 32768  # padded, of the distinct prompts read together


class TransformersEngine:
    """Samples with a transformers model of its own; see `rl_core.rollout.engine.RolloutEngine`."""

    ranks_per_engine = 1

    def __init__(self, model: PreTrainedModel, *, max_concurrent_sequences: int) -> None:
        """Args:
        model: a causal language model in evaluation mode, on its device; its generation config names the
            end-of-sequence and padding tokens.
        max_concurrent_sequences: responses decoded together.

        Raises:
            MistakeError: the model does not say which token ends a response.
        """
        self._model = model
        self._max_concurrent = max_concurrent_sequences
        self._policy_version = 0
        self._end_ids = end_ids(model.generation_config)
        use_decode_attention(model)

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        finished: Finished | None = None,
    ) -> list[Completion]:
        """One completion for each request, in their order."""
        started = time.perf_counter()
        completions: dict[int, Completion] = {}
        for indices in self._batches(requests):
            batch = Decoding(self._model, [requests[index] for index in indices], sampling, self._end_ids)
            for index, completion in zip(indices, batch.run(self._policy_version, started), strict=True):
                completions[index] = completion
                if finished:
                    finished(index, completion)
            if progress:
                progress.update(len(completions))
        return [completions[index] for index in range(len(requests))]

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Indices of the requests that decode together: alike in length, longest first, bounded in prompt tokens."""
        batch: list[int] = []
        prompts: set[tuple[int, ...]] = set()
        longest = 0
        for index in sorted(range(len(requests)), key=lambda index: -len(requests[index].prompt_ids)):
            prompt = requests[index].prompt_ids
            too_many_tokens = prompt not in prompts and (len(prompts) + 1) * longest > MAX_PROMPT_TOKENS
            if batch and (len(batch) == self._max_concurrent or too_many_tokens):
                yield batch
                batch, prompts, longest = [], set(), 0
            batch.append(index)
            prompts.add(prompt)
            longest = max(longest, len(prompt))
        if batch:
            yield batch

    @torch.no_grad()
    def load_weights(self, weights: NamedTensors, policy_version: int) -> None:
        """Copy every parameter into the engine's model, or into its adapter where it has one."""
        missing = {name_without_peft(name): p for name, p in self._model.named_parameters() if p.requires_grad}
        for name, tensor in weights:
            parameter = missing.pop(name, None)
            if parameter is None or parameter.shape != tensor.shape:
                expected = None if parameter is None else tuple(parameter.shape)
                raise ValueError(f"weight {name} of shape {tuple(tensor.shape)}: the sampler's model has {expected}")
            parameter.copy_(tensor)
        if missing:
            raise ValueError(f"{len(missing)} weights were not sent to the sampler, first {next(iter(missing))}")
        self._policy_version = policy_version

    def fingerprint(self) -> Fingerprints:
        """By parameter name."""
        parameters = self._model.named_parameters(remove_duplicate=False)
        return {name_without_peft(name): tensor_fingerprint(parameter) for name, parameter in parameters}

    def sleep(self) -> None:
        """Nothing to give back: caches live only while a batch decodes."""

    def wake(self) -> None:
        """Always awake."""

    def close(self) -> None:
        """Release the model."""
        del self._model
