"""How much time is left: the server's grace runs from the signal, the app hears of it after the last request."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any


class Deadline:
    """``with Deadline(30) as deadline``: ``deadline.left()`` is 30 s less what has passed since SIGTERM or SIGINT.

    The server's own handlers are called as before; where signals can't be heard (no main thread), the time runs from
    the first question.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self._handlers: dict[int, Any] = {}

    def left(self) -> float:
        if self._since is None:
            self._since = time.monotonic()
        return self._since + self._seconds - time.monotonic()

    def __enter__(self) -> Deadline:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._since is None:
            self._since = time.monotonic()
        self._handlers[number](number, frame)
