"""Log-probabilities and entropies from hidden states and an output embedding, a tile of logits at a time.

At 24,576 tokens and a vocabulary of 151,936 all logits would take 14.9 GB a copy, and their gradient as much again. A
tile is some tokens by some words of the vocabulary; its size grows with neither.
Shapes: N tokens, H hidden size, V vocabulary; n tokens by v words of one tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Tile:
    """Tokens and words whose logits exist together."""

    tokens: int
    words: int

    @classmethod
    def of_device(cls, device: torch.device) -> "Tile":
        """8 MB in float32 on a CPU, which its cache holds from one operation to the next; 64 MB on an accelerator,
        which each product then fills.
        """
        return cls(1024, 2048) if device.type == "cpu" else cls(4096, 4096)


def tiled_logprobs(
    states: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor, temperature: float, tile: Tile
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of z = states weight^T / temperature: log p = z - log sum exp z at the chosen words, and H = -sum p log p.

    Args:
        states: [N, H].
        weight: [V, H], in the dtype of the states.
        chosen: [N] long, 0..V-1.
        temperature: above 0.

    Returns:
        logprobs and entropies, [N] each, float32 (float64 where the states are), with gradients.
    """
    result: tuple[torch.Tensor, torch.Tensor] = _TiledLogprobs.apply(  # type: ignore[no-untyped-call]
        states, weight, chosen, temperature, tile
    )
    return result


class _TiledLogprobs(torch.autograd.Function):
    """The backward pass makes each tile again: dlog p[c]/dz = onehot(c) - p, dH/dz = -p (log p + H).

    That is four products of N, H and V in place of three; in exchange no logit travels to memory and back.
    """

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight: torch.Tensor, chosen: torch.Tensor, temperature: float, tile: Tile
    ) -> tuple[torch.Tensor, torch.Tensor]:
        exact = torch.promote_types(states.dtype, torch.float32)
        logprobs, log_sums, entropies = (states.new_empty(len(states), dtype=exact) for _ in range(3))
        room = _Room(states, len(weight), tile)
        for rows in _cuts(len(states), tile.tokens):
            at_chosen = torch.zeros_like(logprobs[rows])
            parts = []
            for words in _cuts(len(weight), tile.words):
                logits = _logits(states[rows], weight[words], temperature, room)
                column, inside = _column(chosen[rows], words)
                at_chosen += logits.gather(-1, column).squeeze(-1) * inside
                parts.append(_log_sum_and_entropy(logits, room))
            log_sums[rows], entropies[rows] = _of_whole(*(torch.stack(values) for values in zip(*parts, strict=True)))
            logprobs[rows] = at_chosen - log_sums[rows]
        ctx.save_for_backward(states, weight, chosen, log_sums, entropies)
        ctx.temperature, ctx.tile = temperature, tile
        ctx.set_materialize_grads(False)  # entropies that are in no loss cost nothing
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        states, weight, chosen, log_sums, entropies = ctx.saved_tensors
        of_logprobs, of_entropies = (None if grad is None else grad / ctx.temperature for grad in gradients)
        if of_logprobs is None:
            of_logprobs = torch.zeros_like(log_sums)
        # Sums over tiles would lose bits in bfloat16; None where nobody asks, as of a frozen embedding.
        exact = log_sums.dtype
        states_grad = torch.zeros_like(states, dtype=exact) if ctx.needs_input_grad[0] else None
        weight_grad = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        room = _Room(states, len(weight), ctx.tile)
        for words in _cuts(len(weight), ctx.tile.words):
            words_grad = None if weight_grad is None else weight_grad[words].to(exact)
            for rows in _cuts(len(states), ctx.tile.tokens):
                logprobs = _logits(states[rows], weight[words], ctx.temperature, room).sub_(log_sums[rows, None])
                of_entropy = None if of_entropies is None else (of_entropies[rows, None], entropies[rows, None])
                column = _column(chosen[rows], words)
                grad = _logits_grad(logprobs, of_logprobs[rows, None], of_entropy, *column, room)
                grad = grad.to(states.dtype)
                if states_grad is not None:
                    _add_product(states_grad[rows], grad, weight[words])
                if words_grad is not None:
                    _add_product(words_grad, grad.T, states[rows])
            if weight_grad is not None and words_grad is not None and weight.dtype != exact:
                weight_grad[words] = words_grad
        return None if states_grad is None else states_grad.to(states.dtype), weight_grad, None, None, None


def _cuts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class _Room:
    """Memory for two tiles, taken once and used again.

    Allocated one after another, with small results that stay in between, they made glibc's heap grow by nearly all
    logits: 0.4 GB at 512 tokens by 151,936 words.
    """

    def __init__(self, states: torch.Tensor, num_words: int, tile: Tile) -> None:
        size = min(tile.tokens, len(states)) * min(tile.words, num_words)
        self._exact = torch.promote_types(states.dtype, torch.float32)
        self._first, self._second = (states.new_empty(size, dtype=self._exact) for _ in range(2))

    def product(self, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """States weight^T, [n, v], in float32 or float64, in the first tile."""
        room = self._first[: len(states) * len(weight)].view(len(states), len(weight))
        if states.dtype == self._exact:
            return torch.mm(states, weight.T, out=room)
        return room.copy_(functional.linear(states, weight))

    def exp(self, logits: torch.Tensor) -> torch.Tensor:
        """In the second tile."""
        return torch.exp(logits, out=self._second[: logits.numel()].view_as(logits))


def _logits(states: torch.Tensor, weight: torch.Tensor, temperature: float, room: _Room) -> torch.Tensor:
    """[n, v], float32 or float64."""
    logits = room.product(states, weight)
    return logits if temperature == 1 else logits.div_(temperature)


def _column(chosen: torch.Tensor, words: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Where in the tile each chosen word is: [n, 1], any column where it is in none; and whether it is in one: [n]."""
    inside = (chosen >= words.start) & (chosen < words.stop)
    return (chosen - words.start).clamp(0, words.stop - words.start - 1).unsqueeze(-1), inside


def _log_sum_and_entropy(logits: torch.Tensor, room: _Room) -> tuple[torch.Tensor, torch.Tensor]:
    """Over the words of a tile alone: log sum exp z and entropy, [n] each; overwrites the logits."""
    top = logits.amax(-1, keepdim=True)
    logits.sub_(top)
    masses = room.exp(logits)
    total = masses.sum(-1)
    log_total = total.log()
    return log_total + top.squeeze(-1), log_total - masses.mul_(logits).sum(-1) / total


def _of_whole(log_sums: torch.Tensor, entropies: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Over all words, from log sum exp z and entropy of the parts, [parts, n] each: both, [n].

    H = sum w (H of the part - log w), where w is the part's share: nothing is taken from something as large.
    """
    log_sum = log_sums.logsumexp(0)
    log_shares = log_sums - log_sum
    return log_sum, (log_shares.exp() * (entropies - log_shares)).sum(0)


def _logits_grad(
    logprobs: torch.Tensor,
    of_logprob: torch.Tensor,
    of_entropy: tuple[torch.Tensor, torch.Tensor] | None,
    column: torch.Tensor,
    inside: torch.Tensor,
    room: _Room,
) -> torch.Tensor:
    """The gradient with respect to a tile of logits, [n, v]; overwrites the tile's log-probabilities.

    Args:
        logprobs: [n, v], of every word of the tile.
        of_logprob: [n, 1], the gradient with respect to the chosen word's log-probability.
        of_entropy: the gradient with respect to the entropy, and the entropy: [n, 1] each; None where it is in no loss.
        column, inside: of the chosen words.
    """
    if of_entropy is None:
        grad = logprobs.exp_().mul_(-of_logprob)
    else:
        of_entropies, entropies = of_entropy
        probabilities = room.exp(logprobs)
        grad = logprobs.add_(entropies).mul_(-of_entropies).sub_(of_logprob).mul_(probabilities)
    return grad.scatter_add_(-1, column, of_logprob * inside.unsqueeze(-1))


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
