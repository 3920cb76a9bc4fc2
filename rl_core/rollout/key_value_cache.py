"""The keys and values of one layer, written in place as tokens arrive. Nothing is copied but rows that move.

Shape letters: B rows, K key heads, T tokens, D head size.
"""

import torch
from transformers.cache_utils import DynamicLayer


class PreallocatedLayer(DynamicLayer):
    """First holds the prompts as they are read, then room for the responses of each."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = self._length = 0
        self.is_initialized: bool = False

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the newest tokens [B, K, T', D]; the keys and values of all tokens so far [B, K, T, D]."""
        if not self.is_initialized:
            self.keys, self.values, self.is_initialized = key_states, value_states, True
            self._rows, self._length = key_states.shape[0], key_states.shape[2]
            return key_states, value_states
        start, self._length = self._length, self._length + key_states.shape[2]
        self.keys[: self._rows, :, start : self._length] = key_states
        self.values[: self._rows, :, start : self._length] = value_states
        return self.keys[: self._rows, :, : self._length], self.values[: self._rows, :, : self._length]

    def get_seq_length(self) -> int:
        """Tokens so far."""
        return self._length

    def spread(self, source: torch.Tensor, capacity: int) -> None:
        """Make rows of these rows, [B'] indices, each with room for `capacity` tokens."""
        self.keys, self.values = _spread(self.keys, source, capacity), _spread(self.values, source, capacity)
        self._rows = len(source)

    def move(self, movers: torch.Tensor, places: torch.Tensor, kept: int) -> None:
        """Copy the rows `movers` into the rows `places`, [M] indices each, and drop all rows from `kept` on."""
        for tensor in (self.keys, self.values):
            used = tensor[:, :, : self._length]
            used.index_copy_(0, places, used.index_select(0, movers))
        self._rows = kept


def _spread(tensor: torch.Tensor, source: torch.Tensor, capacity: int) -> torch.Tensor:
    _, heads, length, size = tensor.shape
    room = tensor.new_empty(len(source), heads, capacity, size)
    torch.index_select(tensor, 0, source, out=room[:, :, :length])
    return room
