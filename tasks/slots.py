"""The team's limit on what computes at a time: a slot of one of Prefect's global concurrency limits.

It keeps runs of a work pool from starting where they would only wait, and shows in the interface who computes. What
truly keeps two runs from one device is the lock that the stage's own process takes; see `rl_core.devices`. Prefect is
imported where there is a limit, since the command that makes pools reads names here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

from rl_core.devices import ON_DEVICES

LIMIT_VARIABLE = "DEEPSCALER_DEVICES_LIMIT"  # names the limit; set by the work pools of this project
PROMPT_SECONDS = 5.0  # a slot that is free is had within


@contextmanager
def device_slot(stage: str) -> Iterator[None]:
    """A slot for as long as the stage computes; none where it does not, or where no limit is named."""
    limit = os.environ.get(LIMIT_VARIABLE)
    if not limit or stage not in ON_DEVICES:
        yield
        return
    from prefect.concurrency.sync import concurrency
    from prefect.logging import get_run_logger

    # Prefect does not say that it waits, and with a time limit of its own says it as an error.
    notice = Timer(PROMPT_SECONDS, get_run_logger().info, ("waiting for a slot of the limit %s", limit))
    notice.start()
    try:
        # Not strict: where the limit was removed, or its lease lost with the server's memory, the work goes on.
        with concurrency(limit):
            notice.cancel()
            yield
    finally:
        notice.cancel()
