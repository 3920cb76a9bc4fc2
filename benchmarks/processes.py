"""Work in a process of its own, so that nothing of one measurement is left in memory for the next."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


def in_fresh_process(
    work: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """What the work returns, or raises. It is a function of a module, and all that passes can be pickled."""
    with fresh_process() as process:
        return process.submit(work, *arguments, **options).result()


def fresh_process() -> ProcessPoolExecutor:
    """One new process that works off what it is given, and ends with the block."""
    return ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"))
