"""Ctrl-C and SIGTERM cannot get lost: what they raise is remembered, for where something on its way swallows it.

pydantic turns any exception that falls into a serializer into an error of its own, KeyboardInterrupt as well, and
Prefect serializes with each log line and artifact; an error there must not end a training, a person who wants to must.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import ClassVar, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruptions:
    """Remembers the exception that a signal's handler raised. Use as a context manager; it may be nested.

    Handlers stay what they are, whoever set them: this project's command, Prefect's worker, Python.
    """

    _innermost: "ClassVar[Interruptions | None]" = None

    def __init__(self) -> None:
        self._outer: Interruptions | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._raised: BaseException | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other is ever interrupted
            self._outer, Interruptions._innermost = Interruptions._innermost, self
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if Interruptions._innermost is self:
            Interruptions._innermost = self._outer

    def raise_again(self) -> None:
        """Raise what a signal raised since this, or what it is nested in, was entered; nothing where none came."""
        if self._outer is not None:
            self._outer.raise_again()
        if self._raised is not None:
            raise self._raised

    def _remember(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handlers[number](number, frame)
        except BaseException as raised:
            self._raised = raised
            raise
