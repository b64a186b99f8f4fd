"""Takes differences in while requests run, and writes them in batches off everybody's path.

A store that is slow or gone costs some memory for the newest few hundred, and those in the end, but never a request.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from types import TracebackType

from graft.cancellation import cancel_and_wait
from graft.errors import DifferencesError
from graft.figures.recorder import RECORDER
from graft.mirroring import metering
from graft.mirroring.differences.document import (
    KeptDifference,
    LearnedNoise,
    Origin,
    Redaction,
    document_of,
    learned_noise,
)
from graft.mirroring.differences.metrics import lost
from graft.mirroring.differences.store import DifferenceStore
from graft.mirroring.mirrored import Mirrored
from graft.mirroring.slices import Slices
from graft.types import RouteKey

PENDING = 500
"""Differences of this process that wait to be written; of more, the newest stay."""

BATCH = 50
"""Differences of one write: 10 MB at the very most, which a store takes in one request."""

SAMPLED = 20
"""Differences of one route that are taken in between two writes: more of the same would only cost."""

_SECONDS = 1.0
_PATIENCE = 6.0
"""Seconds that the last write may take: a little more than a store has for one request."""

_FORGET = 3600.0
"""Seconds between two looks for what is too old."""

logger = logging.getLogger(__name__)


class DifferenceWriter:
    """``async with DifferenceWriter(store)``: a Keeper for the mirror. All of it runs on one event loop."""

    def __init__(
        self,
        store: DifferenceStore,
        *,
        redaction: Redaction | None = None,
        every: float = _SECONDS,
        slices: Slices | None = None,
        origin: Origin | None = None,
    ) -> None:
        """``slices`` are those of the mirror, which ends them."""
        self._origin = origin or Origin()
        self.store = store
        self._slices = slices or Slices()
        self._redaction = redaction or Redaction()
        self._every = every
        self._pending: deque[KeptDifference] = deque()
        self._taken: Counter[RouteKey] = Counter()
        self._noise: dict[tuple[RouteKey, str], LearnedNoise] = {}
        self._failing = False
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> DifferenceWriter:
        self._writer = asyncio.create_task(self._write(), name="graft-differences")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._closing.set()
            await asyncio.wait([self._writer], timeout=_PATIENCE)
            await cancel_and_wait([self._writer])

    @property
    def pending(self) -> int:
        """Differences that are taken in and not written yet."""
        return len(self._pending)

    async def keep(self, mirrored: Mirrored) -> None:
        """Take in one difference, to be written within a second or so. Never raises, never waits for the store."""
        self._taken[mirrored.key] += 1
        if self._taken[mirrored.key] > SAMPLED:
            return
        try:
            meter = metering.current.get() or metering.Meter()
            origin = replace(self._origin, version=RECORDER.builds.get(str(mirrored.key)) or self._origin.version)
            document = await self._slices.run(meter.called, document_of, mirrored, self._redaction, origin)
        except Exception:
            logger.exception("a difference of %s could not be kept", mirrored.key)
            return
        self._pending.append(document)
        if len(self._pending) > PENDING:
            self._pending.popleft()
            lost("waited too long")

    async def learned(self, key: RouteKey, noise: frozenset[str]) -> None:
        """Take in what was learned to be noise of a route."""
        for what in noise:
            self._noise[key, what] = learned_noise(key, what)

    async def flush(self) -> None:
        """Write what has been taken in. What can't be written now is tried again with the next one."""
        async with self._writing:
            self._taken.clear()
            while self._pending or self._noise:
                if not await self._write_batch():
                    return

    async def _write_batch(self) -> bool:
        """False when the store can't be written now."""
        differences, noise = list(self._pending)[:BATCH], dict(self._noise)
        try:
            refused = await self.store.write(differences, list(noise.values()))
        except DifferencesError as error:
            if not self._failing:
                logger.warning("Differences can't be written now; the newest %d wait: %s", PENDING, error)
            self._failing = True
            return False
        if self._failing:
            logger.info("Differences are written again")
        self._failing = False
        # While the store wrote, keep() may have added on the right, and dropped on the left some of this very batch.
        for document in differences:
            if self._pending and self._pending[0] is document:
                self._pending.popleft()
        for name, learned in noise.items():
            if self._noise.get(name) is learned:
                del self._noise[name]
        if refused:
            lost("refused", len(refused))
            logger.warning("%d differences were refused and are lost, the first: %s", len(refused), refused[0][:300])
        return True

    async def _write(self) -> None:
        """Until the end, and once more then: what was taken in last is written as well. Now and then what is too old is
        deleted, also where nothing differs any more."""
        ending = False
        forgotten = -math.inf
        while not ending:
            ending = self._closing.is_set()
            try:
                await self.flush()
                if time.monotonic() - forgotten > _FORGET and not ending:
                    forgotten = time.monotonic()
                    with suppress(DifferencesError):  # whoever has something to write says so
                        await self.store.forget_old()
            except Exception:
                logger.exception("differences could not be written")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._every)
