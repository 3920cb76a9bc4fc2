"""The decoding of one batch by a transformers model, from prompts to completions.

All rows decode one token at a time. A prompt is read once for all its responses. A row leaves the batch in the step it
ends, and one from the end of the batch takes its place: no step computes for responses that are done.
Shape letters: R requests of the batch, B rows still decoding (at most R), T tokens, V vocabulary.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from rl_core.progress import beat
from rl_core.rollout.engine import Sampling
from rl_core.rollout.key_value_cache import PreallocatedLayer
from rl_core.rollout.sampling import UniformStreams, sample
from rl_core.types import Completion, FinishReason, Request


@dataclass(frozen=True, slots=True)
class _End:
    length: int
    reason: FinishReason
    moment: float  # by time.perf_counter


class Decoding:
    """One batch; `run` once."""

    def __init__(
        self, model: PreTrainedModel, requests: Sequence[Request], sampling: Sampling, end_ids: Sequence[int]
    ) -> None:
        self._model, self._requests, self._sampling = model, requests, sampling
        self._device = device = model.device
        self._end_ids = torch.tensor(end_ids, device=device)
        self._uniforms = UniformStreams([request.seed for request in requests], device)
        self._limits = torch.tensor([request.max_new_tokens for request in requests], device=device)  # [R]
        self._prompt_lengths = torch.tensor([len(request.prompt_ids) for request in requests], device=device)  # [R]
        self._max_prompt = int(self._prompt_lengths.max())
        self._steps = int(self._limits.max())
        self._cache = Cache(layers=[PreallocatedLayer() for _ in range(model.config.num_hidden_layers)])
        self._rows = torch.arange(len(requests), device=device)  # [B] the request that each row decodes
        self._ended: dict[int, _End] = {}  # by request

    def run(self, policy_version: int, started: float) -> list[Completion]:
        """Decode to the end of every row.

        Args:
            started: by time.perf_counter, what the completions' times are counted from.
        """
        tokens = torch.zeros(len(self._requests), self._steps, dtype=torch.long, device=self._device)
        logprobs = torch.zeros(len(self._requests), self._steps, device=self._device)
        logits = self._read_prompts()
        for step in range(self._steps):
            chosen, chosen_logprobs = sample(logits, self._sampling, self._uniforms.at(step)[self._rows])
            tokens[self._rows, step] = chosen
            logprobs[self._rows, step] = chosen_logprobs
            chosen = self._leave(chosen, step + 1)
            if step == 0:
                first_token = self._moment
            if not len(chosen):
                break
            logits = self._decode(chosen, step)
            beat()
        return [
            Completion(
                row_tokens[: end.length],
                row_logprobs[: end.length],
                end.reason,
                policy_version,
                start_seconds=first_token - started,
                end_seconds=end.moment - started,
            )
            for row_tokens, row_logprobs, (_, end) in zip(
                tokens.tolist(), logprobs.tolist(), sorted(self._ended.items()), strict=True
            )
        ]

    def _read_prompts(self) -> torch.Tensor:
        """Logits after each row's prompt [B, V].

        Every distinct prompt is read once; its cache is then repeated for each of its responses.
        """
        distinct = list(dict.fromkeys(request.prompt_ids for request in self._requests))
        tokens = torch.zeros(len(distinct), self._max_prompt, dtype=torch.long)
        mask = torch.zeros_like(tokens, dtype=torch.bool)
        for row, prompt in enumerate(distinct):
            tokens[row, -len(prompt) :] = torch.tensor(prompt)
            mask[row, -len(prompt) :] = True
        padded = not bool(mask.all())
        mask = mask.to(self._device)
        logits = self._model(
            input_ids=tokens.to(self._device),
            attention_mask=mask if padded else None,
            position_ids=(mask.long().cumsum(-1) - 1).clamp_(min=0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        place = {prompt: row for row, prompt in enumerate(distinct)}
        source = torch.tensor([place[request.prompt_ids] for request in self._requests], device=self._device)
        for layer in self._cache.layers:
            layer.spread(source, self._max_prompt + self._steps)
        self._mask = torch.nn.functional.pad(mask, (0, self._steps), value=True)[source] if padded else None
        return logits[source]

    def _decode(self, chosen: torch.Tensor, step: int) -> torch.Tensor:
        """Logits [B, V] of the token after `chosen` [B], which is number `step` of its response."""
        return self._model(
            input_ids=chosen.unsqueeze(-1),
            attention_mask=None if self._mask is None else self._mask[:, : self._max_prompt + step + 1],
            position_ids=(self._prompt_lengths[self._rows] + step).unsqueeze(-1),
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]

    def _leave(self, chosen: torch.Tensor, length: int) -> torch.Tensor:
        """Take the rows that end at this length out of the batch; what the others have chosen [B]."""
        stopped = (chosen.unsqueeze(-1) == self._end_ids).any(-1)
        ended = stopped | (self._limits[self._rows] <= length)
        leaving = ended.nonzero().squeeze(-1)
        self._moment = time.perf_counter()  # of this token: an accelerator has been waited for
        if not len(leaving):
            return chosen
        for request, stop in zip(self._rows[leaving].tolist(), stopped[leaving].tolist(), strict=True):
            self._ended[request] = _End(length, "stop" if stop else "length", self._moment)
        kept = len(chosen) - len(leaving)
        places = leaving[leaving < kept]
        movers = kept + (~ended[kept:]).nonzero().squeeze(-1)
        for layer in self._cache.layers:
            layer.move(movers, places, kept)
        for rows in (chosen, self._rows, *([] if self._mask is None else [self._mask])):
            rows[places] = rows[movers]
        self._rows = self._rows[:kept]
        self._mask = None if self._mask is None else self._mask[:kept]
        return chosen[:kept]
