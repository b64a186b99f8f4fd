"""Cancellation of asyncio tasks that may not want to end. On the loop that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]], *, every: float = 0.5, patience: float = 10.0) -> None:
    """Cancel ``tasks`` and wait until they are done, ``patience`` seconds at most.

    A cancellation can get lost on its way through a client library that turns it into an exception of its own. So it is
    repeated, ``every`` so many seconds, and a shutdown never hangs on it.
    """
    left = set(tasks)
    for _ in range(max(1, round(patience / every))):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=every)
