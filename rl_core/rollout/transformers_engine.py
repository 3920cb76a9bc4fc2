"""The transformers engine: small and exact. Runs where vLLM is not installed, and is the oracle it is compared with.

A batch decodes one token at a time for all its rows; a prompt is read once for all its responses; rows leave the batch
as they end. Shape letters: B rows still decoding, T tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from rl_core.models.load import end_ids
from rl_core.progress import Progress
from rl_core.rollout.engine import NamedTensors, Sampling
from rl_core.rollout.fingerprint import Fingerprints, tensor_fingerprint
from rl_core.rollout.sampling import UniformStreams, sample
from rl_core.types import Completion, Request

# The cache is copied without the rows that ended once they are this share of it: often enough that little is computed
# for them, seldom enough that copying costs little.
COMPACT_SHARE = 0.1
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
        self._end_ids = torch.tensor(end_ids(model.generation_config), device=model.device)

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """One completion for each request, in their order."""
        completions: dict[int, Completion] = {}
        for indices in self._batches(requests):
            batch = _Batch(self._model, [requests[index] for index in indices], sampling, self._end_ids)
            completions.update(zip(indices, batch.run(self._policy_version), strict=True))
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
        """Copy every parameter into the engine's model."""
        missing = dict(self._model.named_parameters())
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
        return {name: tensor_fingerprint(parameter) for name, parameter in parameters}

    def sleep(self) -> None:
        """Nothing to give back: caches live only while a batch decodes."""

    def wake(self) -> None:
        """Always awake."""

    def close(self) -> None:
        """Release the model."""
        del self._model


class _PreallocatedLayer(DynamicLayer):
    """Keys and values of one layer, [rows, heads, capacity, head size], written in place as tokens arrive."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._length = 0
        self.is_initialized: bool = False

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            rows, heads, _tokens, size = key_states.shape
            self.keys = key_states.new_empty(rows, heads, self._capacity, size)
            self.values = value_states.new_empty(rows, heads, self._capacity, value_states.shape[-1])
            self.is_initialized = True
        end = self._length + key_states.shape[2]
        self.keys[:, :, self._length : end] = key_states
        self.values[:, :, self._length : end] = value_states
        self._length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._length

    def take(self, rows: torch.Tensor) -> None:
        """Keep, or repeat, these rows: [B'] indices."""
        keys, values = self.keys, self.values
        self.keys = keys.new_empty(len(rows), *keys.shape[1:])
        self.values = values.new_empty(len(rows), *values.shape[1:])
        self.keys[:, :, : self._length] = keys[rows, :, : self._length]
        self.values[:, :, : self._length] = values[rows, :, : self._length]


class _Batch:
    """The decoding of one batch of requests from prompts to completions."""

    def __init__(
        self, model: PreTrainedModel, requests: Sequence[Request], sampling: Sampling, end_ids: torch.Tensor
    ) -> None:
        self._model, self._requests, self._sampling, self._end_ids = model, requests, sampling, end_ids
        self._device = model.device
        self._limits = torch.tensor([request.max_new_tokens for request in requests], device=self._device)
        self._uniforms = UniformStreams([request.seed for request in requests], self._device)
        longest = max(len(request.prompt_ids) for request in requests)
        capacity = longest + int(self._limits.max())
        layers = [_PreallocatedLayer(capacity) for _ in range(model.config.num_hidden_layers)]
        self._cache = Cache(layers=layers)
        self._longest_prompt = longest

    def run(self, policy_version: int) -> list[Completion]:
        """Decode to the end of every row."""
        count, steps = len(self._requests), int(self._limits.max())
        tokens = torch.zeros(count, steps, dtype=torch.long, device=self._device)
        logprobs = torch.zeros(count, steps, device=self._device)
        lengths = torch.zeros(count, dtype=torch.long, device=self._device)
        stopped = torch.zeros(count, dtype=torch.bool, device=self._device)
        rows = torch.arange(count, device=self._device)  # the requests still in the batch
        alive = torch.ones(count, dtype=torch.bool, device=self._device)  # of `rows`
        logits, positions = self._read_prompts()
        for step in range(steps):
            chosen, chosen_logprobs = sample(logits, self._sampling, self._uniforms.next())
            tokens[rows[alive], step] = chosen[alive]
            logprobs[rows[alive], step] = chosen_logprobs[alive]
            lengths[rows[alive]] = step + 1
            ended = torch.isin(chosen, self._end_ids) & alive
            stopped[rows[ended]] = True
            alive = alive & ~ended & (self._limits[rows] > step + 1)
            num_alive = int(alive.sum())
            if num_alive == 0:
                break
            if len(rows) - num_alive >= COMPACT_SHARE * len(rows):
                kept = alive.nonzero().squeeze(-1)
                self._keep(kept)
                rows, chosen, positions, alive = rows[kept], chosen[kept], positions[kept], alive[kept]
            logits = self._decode(chosen, positions)
            positions = positions + 1
        return _completions(tokens, logprobs, lengths, stopped, policy_version)

    def _read_prompts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits after each prompt [B, V], and the position of each row's next token [B].

        Every distinct prompt is read once; its cache is then repeated for each of its responses.
        """
        distinct = list(dict.fromkeys(request.prompt_ids for request in self._requests))
        tokens = torch.zeros(len(distinct), self._longest_prompt, dtype=torch.long, device=self._device)
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        for row, prompt in enumerate(distinct):
            tokens[row, -len(prompt) :] = torch.tensor(prompt, device=self._device)
            mask[row, -len(prompt) :] = True
        positions = (mask.long().cumsum(-1) - 1).clamp_(min=0)
        padded = not bool(mask.all())
        logits = self._model(
            input_ids=tokens,
            attention_mask=mask if padded else None,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        place = {prompt: row for row, prompt in enumerate(distinct)}
        source = torch.tensor([place[request.prompt_ids] for request in self._requests], device=self._device)
        for layer in self._cache.layers:
            layer.take(source)
        self._mask = mask[source] if padded else None
        return logits[source], positions[source, -1] + 1

    def _decode(self, chosen: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Logits [B, V] of the token after `chosen` [B]."""
        if self._mask is not None:
            self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=True)
        return self._model(
            input_ids=chosen.unsqueeze(-1),
            attention_mask=self._mask,
            position_ids=positions.unsqueeze(-1),
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]

    def _keep(self, kept: torch.Tensor) -> None:
        for layer in self._cache.layers:
            layer.take(kept)
        self._uniforms.keep(kept)
        if self._mask is not None:
            self._mask = self._mask[kept]


def _completions(
    tokens: torch.Tensor, logprobs: torch.Tensor, lengths: torch.Tensor, stopped: torch.Tensor, policy_version: int
) -> list[Completion]:
    return [
        Completion(row_tokens[:length], row_logprobs[:length], "stop" if stop else "length", policy_version)
        for row_tokens, row_logprobs, length, stop in zip(
            tokens.tolist(), logprobs.tolist(), lengths.tolist(), stopped.tolist(), strict=True
        )
    ]
