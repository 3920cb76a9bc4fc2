"""Whether what ended a stage is that memory ran out. Imports no torch, which ran out of none where it is not there."""

import sys
from collections.abc import Iterator

from rl_core.errors import OutOfMemory

# What torch says where it raises a plain RuntimeError: its allocator on a CPU, CUDA's libraries, NCCL.
TEXTS = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or what it was raised from, is about memory that could not be had."""
    torch = sys.modules.get("torch")
    kinds = (MemoryError, OutOfMemory) if torch is None else (MemoryError, OutOfMemory, torch.OutOfMemoryError)
    return any(
        isinstance(each, kinds) or (isinstance(each, RuntimeError) and any(text in str(each) for text in TEXTS))
        for each in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
