"""Ctrl-C at the worst moment."""

import signal

from pydantic import BaseModel, model_serializer


class Interrupted(BaseModel):
    """Ctrl-C is pressed just while this is serialized, as Prefect does with each line of a log."""

    @model_serializer
    def serialized(self) -> dict[str, int]:
        signal.raise_signal(signal.SIGINT)
        return {}
