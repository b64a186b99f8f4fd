"""What a thread does for others while it waits for them."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from graft.threads.parking import Parking
from graft.threads.thread_task import current_task

# How often a waiting thread looks whether its loop is still there, in seconds.
PULSE = 5.0

Call = Callable[[], object]


class ThreadMailbox(Executor):
    """The calls that one thread serves: steps of its tasks, and what asgiref sends to the thread of the request.

    Made in the thread that serves it. As an Executor it takes asgiref's thread-sensitive calls.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.get_ident()
        self._closing = threading.Lock()
        self._closed = False

    def put(self, call: Call) -> bool:
        """Have the thread do ``call()``, which may not raise; from any thread. False when it serves no more."""
        with self._closing:  # a call that is put is served, or found by close
            if self._closed:
                return False
            self._calls.put(call)
        return True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Raises RuntimeError when the thread serves no more, or is the calling one: it would wait for itself.

        A step of one of its tasks may call: that waits by an await, and lets the thread go on.
        """
        if threading.get_ident() == self._thread and current_task() is None:
            raise RuntimeError("this thread can't wait for itself")
        future: Future[Any] = Future()
        if not self.put(functools.partial(_settle, future, functools.partial(fn, *args, **kwargs))):
            raise RuntimeError("the request that this task came from has ended")
        return future

    def is_served_by(self, thread: int) -> bool:
        return self._thread == thread and not self._closed

    def wake(self) -> None:
        """Have ``serve`` look again whether it is done. From any thread."""
        self._calls.put(None)

    def serve(self, done: Callable[[], bool], loop: asyncio.AbstractEventLoop, parking: Parking | None) -> None:
        """Do what comes, until ``done()``. Raises RuntimeError when ``loop`` is closed before.

        Between two calls the thread is parked, where ``parking`` says so.
        """
        while not done():
            try:
                call = self._calls.get(timeout=PULSE)
            except queue.Empty:
                if loop.is_closed():
                    raise RuntimeError("the loop was closed before the view ended") from None
                continue
            if call is None:
                continue
            if parking is None:
                call()
            else:
                with parking.interrupted():
                    call()

    def close(self) -> list[Call]:
        """Serve no more. What nobody has served is the caller's to do."""
        with self._closing:
            self._closed = True
        left: list[Call] = []
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return left
            if call is not None:
                left.append(call)


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
