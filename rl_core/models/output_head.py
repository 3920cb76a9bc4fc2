"""A model's output embedding, which also answers with the log-probabilities of chosen tokens.

Shapes: N tokens, H hidden size, V vocabulary.
"""

import torch
from torch.nn import functional

from rl_core.errors import MistakeError
from rl_core.models.tiled_logprobs import Tile, tiled_logprobs


class OutputHead:
    """Wraps the output embedding; plain calls of it give logits as before.

    The embedding's own module is called, with its own parameter: the hooks by which ZeRO-3 gathers it, and the tie to
    the input embedding, stay as they are.
    """

    def __init__(self, embedding: torch.nn.Module, *, tile: Tile | None = None) -> None:
        """Args:
            embedding: the model's.
            tile: tokens and words whose logits exist together; None takes what suits the device.

        Raises:
            MistakeError: the embedding is not a plain linear map without a bias.
        """
        if not isinstance(embedding, torch.nn.Linear) or getattr(embedding, "bias", None) is not None:
            raise MistakeError(
                "policy.model_name: only models whose output embedding is linear without bias can be trained"
            )
        self._embedding, self._tile = embedding, tile
        embedding.forward = self._forward  # type: ignore[method-assign, assignment]

    def logprobs(
        self, states: torch.Tensor, chosen: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of the chosen tokens and entropies of their distributions, natural logarithm.

        Args:
            states: [N, H], the last hidden state before each chosen token.
            chosen: [N] long.
            temperature: divides the logits.

        Returns:
            [N] and [N], float32 (float64 where the states are).
        """
        result: tuple[torch.Tensor, torch.Tensor] = self._embedding(states, chosen, temperature)
        return result

    def _forward(
        self, states: torch.Tensor, chosen: torch.Tensor | None = None, temperature: float = 1.0
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        weight = self._embedding.weight
        if chosen is None:
            return functional.linear(states, weight)
        return tiled_logprobs(states, weight, chosen, temperature, self._tile or Tile.of_device(states.device))
