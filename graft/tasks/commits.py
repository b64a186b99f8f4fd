"""An answer that may name a new task leaves when the task is in the ledger: what a client was told, a kill can't undo.

``start`` returns an id at once. The request that it runs for, on whichever side and thread, is pending from then until
the ledger's next transaction is over, and what the request sends waits for it: the head of its answer, a part of a
stream, a message of a WebSocket. Whatever has started in the meantime goes into one transaction.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from functools import partial

from graft.types import Message, Send

log = logging.getLogger("graft.tasks")

LONGEST_WAIT = 10.0  # seconds; a disk that hangs for longer must not hold answers for ever

pending: dict[str, Commit] = {}
"""By request id. Read on the event loop for every message that is sent: it is empty nearly always."""

_lock = threading.Lock()


class Commit(Future[None]):
    """One transaction of the ledger: done when it is on the disk, or could not be written."""

    def __init__(self) -> None:
        super().__init__()
        # Many requests wait for it. From here on none that is cancelled can cancel it for the others.
        self.set_running_or_notify_cancel()


def hold(request_id: str | None, commit: Commit) -> None:
    """What the request sends from now on waits for ``commit``. (any thread)

    Without a request: a thread waits here; on an event loop, as in a task that starts a task, nobody is being answered.
    """
    if request_id is not None:
        with _lock:
            if pending.get(request_id) is commit:
                return
            pending[request_id] = commit
        commit.add_done_callback(partial(_release, request_id))  # at once, if it is done by now
    elif not _on_a_loop():
        try:
            commit.result(LONGEST_WAIT)
        except TimeoutError:
            log.error("background tasks were not written within %g s: the answer goes out before them", LONGEST_WAIT)


async def send_when_written(request_id: str, send: Send, message: Message) -> None:
    """``await send(message)`` when the tasks of the request are written. (event loop)"""
    while (commit := pending.get(request_id)) is not None:
        try:
            await asyncio.wait_for(asyncio.wrap_future(commit), LONGEST_WAIT)
        except TimeoutError:
            log.error("background tasks were not written within %g s: the answer goes out before them", LONGEST_WAIT)
            _release(request_id, commit)
    await send(message)


def _release(request_id: str, commit: Future[None]) -> None:
    # Under the lock: a start between the look and the removal would lose its own, later commit.
    with _lock:
        if pending.get(request_id) is commit:
            del pending[request_id]


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
