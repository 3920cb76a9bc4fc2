"""Named tensors in torch.distributed.checkpoint (DCP) folders: written by the ranks that hold them, read in pieces."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.storage import WriteResult

READ_BYTES = 1_000_000_000  # tensors held at a time while reading


def write_tensors(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    group: dist.ProcessGroup | None = None,
    *,
    then: Callable[[], None] | None = None,
) -> None:
    """Write the tensors of all ranks into one folder. A collective call; a name belongs to one rank.

    Args:
        tensors: on the CPU; must not change during the call.
        group: of all ranks, on gloo; default: the one that training uses.
        then: called on the first rank when every rank's file and the metadata are there.

    Raises:
        CheckpointException: what any rank raised, or `then`; on every rank.
    """
    dcp.save(dict(tensors), storage_writer=_Writer(folder, then), process_group=group)


class _Writer(dcp.FileSystemWriter):
    """DCP's own writer, which goes on to call `then` inside the step whose failure DCP tells to all ranks."""

    def __init__(self, folder: Path, then: Callable[[], None] | None) -> None:
        # Nothing is on an accelerator; copying ahead from there would make a context on the first one, for every rank.
        super().__init__(folder, per_thread_copy_ahead=0)
        self._then = then

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        super().finish(metadata, results)
        if self._then is not None:
            self._then()


def stored_tensors(folder: Path) -> dict[str, TensorStorageMetadata]:
    """Name, shape and dtype of every tensor in a folder, from its metadata alone.

    Raises:
        FileNotFoundError: the folder is not a DCP folder.
    """
    metadata = dcp.FileSystemReader(folder).read_metadata()
    return {
        name: entry for name, entry in metadata.state_dict_metadata.items() if isinstance(entry, TensorStorageMetadata)
    }


def read_tensors(folder: Path, names: Sequence[str] | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """The named tensors (default: all) one after another, on the CPU, in the dtype that they were stored in.

    This process alone reads: no other rank takes part, and about READ_BYTES are held at a time.
    """
    stored = stored_tensors(folder)
    for group in _groups(stored, list(stored) if names is None else names):
        state = {name: torch.empty(stored[name].size, dtype=stored[name].properties.dtype) for name in group}
        dcp.load(state, checkpoint_id=folder, no_dist=True)
        yield from state.items()


class TensorSource(Protocol):
    """A model's tensors by their own names, wherever they come from."""

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """Of every tensor, by its name."""
        ...

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """These tensors one after another, on the CPU."""
        ...


class StoredModel:
    """The tensors of a model in a DCP folder; see `TensorSource`."""

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        """Args:
        names: from the model's names to those in the folder.
        """
        stored = stored_tensors(folder)
        self._folder, self._names = folder, names
        self.shapes = {name: stored[stored_name].size for name, stored_name in names.items()}

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """In the dtype that they were stored in."""
        own_name = {self._names[name]: name for name in names}
        for stored_name, tensor in read_tensors(self._folder, list(own_name)):
            yield own_name[stored_name], tensor


def _groups(stored: Mapping[str, TensorStorageMetadata], names: Sequence[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for name in names:
        entry = stored[name]
        group.append(name)
        size += entry.size.numel() * entry.properties.dtype.itemsize
        if size >= READ_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
