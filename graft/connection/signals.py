"""SIGTERM and SIGINT while the gateway serves, so that the process ends as Python programs end.

Uvicorn notes a signal, drains, and raises it once more when it is done, into the handler that was there before: the
system's own, which kills. Functions that the app gave to ``atexit`` would never run, nor would Gunicorn's worker_exit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

from uvicorn import Server

__all__ = ["ending_by_return", "handled_by_the_app"]

ENDING = (signal.SIGTERM, signal.SIGINT)


def handled_by_the_app() -> frozenset[int]:
    """Which of the two have a handler that is none of Python's, Gunicorn's or Uvicorn's. Asked when the app has been
    imported: once it serves, Uvicorn's stand there."""
    return frozenset(number for number in ENDING if _is_the_apps(signal.getsignal(number)))


def _is_the_apps(handler: object) -> bool:
    if isinstance(getattr(handler, "__self__", None), Server):
        return False  # sse-starlette puts a function of its own into Uvicorn's class
    module = getattr(handler, "__module__", None) or ""
    return callable(handler) and module.partition(".")[0] not in ("signal", "_signal", "gunicorn", "uvicorn", "graft")


@contextmanager
def ending_by_return(others: Collection[int] = ()) -> Iterator[None]:
    """For the lifespan: a signal drains the server as ever, which then returns to whoever runs it.

    Does nothing under another server than Uvicorn, outside the main thread, and for ``others``, whose handlers are the
    app's: Uvicorn calls them when it is done. A signal that comes when the lifespan is over, from somebody who has
    waited enough, kills. (main thread)
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    replaced = {}
    for number in set(ENDING).difference(others):
        before = signal.getsignal(number)
        server = getattr(before, "__self__", None)
        if isinstance(server, Server):
            replaced[number] = (before, _Ending(server))
            signal.signal(number, replaced[number][1])
    try:
        yield
    finally:
        for number, (before, ending) in replaced.items():
            if signal.getsignal(number) is ending:
                signal.signal(number, before)


class _Ending:
    """As ``Server.handle_exit``, which besides notes the signal in order to raise it again."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._server.should_exit and number == signal.SIGINT:
            self._server.force_exit = True
        self._server.should_exit = True
