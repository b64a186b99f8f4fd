"""One worker of the gateway: follows the order in GRAFT_DATA, and writes what was copied.

While nobody records there is one look at a file's name four times a second, and nothing on the way of a request. While
somebody does, ``Copies`` stands around the mounted app; what it has taken is redacted and written in the thread of
``slices``, which rests between two steps of work, so that requests find the interpreter free.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from graft.bridge.mount import LegacyMount
from graft.cancellation import cancel_and_wait
from graft.flaskside.rules import LegacyRule
from graft.mirroring.slices import Slices
from graft.recordings.copies import Copies, Copy
from graft.recordings.finder import RuleFinder
from graft.recordings.har import HarFile, entry
from graft.recordings.imported import STATIC
from graft.recordings.order import FILE, FOLDER, Order, read_order
from graft.recordings.redaction import RouteRedactors, redacted
from graft.settings import DifferencesKept, Settings

POLL = 0.25

MOST_OF_A_ROUTE = 500
"""Inputs of one route that a worker keeps: the same again says nothing new, and others are to have room."""

log = logging.getLogger("graft.recordings")

Redactors = Callable[[], RouteRedactors]


class Recorder:
    """``rules`` of the app that ``mount`` answers by; ``redactors()`` go by the switches of now. (event loop)"""

    def __init__(
        self, settings: Settings, mount: LegacyMount, rules: Iterable[LegacyRule], redactors: Redactors, slices: Slices
    ) -> None:
        self._data = settings.data
        self._may_record = settings.differences is not DifferencesKept.SHAPE
        self._mount = mount
        self._finder = RuleFinder(rules)
        self._redactors = redactors
        self._slices = slices
        self._recording: _Session | None = None
        self._over: str | None = None
        """the order that has ended here already"""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For the lifespan. What was copied until its end is written. Where no values may be kept, nothing is."""
        if not self._may_record:
            yield
            return
        task = asyncio.create_task(self._follow(), name="graft-recordings")
        try:
            yield
        finally:
            await cancel_and_wait([task])
            await self._end()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            try:
                await self._look()
            except Exception:
                log.exception("recording ends in this worker: what was copied could not be written")
                await self._end(writing=False)

    async def _look(self) -> None:
        order = None
        if self._recording is not None or os.path.exists(self._data / FILE):
            order = await asyncio.to_thread(read_order, self._data)
        session = self._recording
        if session is not None and (order is None or order.id != session.order.id or order.is_over):
            await self._end()
            session = None
        if session is None and order is not None and not order.is_over and order.id != self._over:
            session = self._begin(order)
        if session is not None:
            await self._slices.run(session.write, self._redactors())
            if session.is_full:
                order = session.order
                await self._end()
                await asyncio.to_thread(order.remove, self._data)

    def _begin(self, order: Order) -> _Session:
        mount: Any = self._mount
        copies = Copies(mount.app, order.sample, order.routes)
        self._recording = session = _Session(order, self._data, copies, self._finder)
        mount.app = copies
        log.info("recording %g %% of what the legacy side answers", order.sample)
        return session

    async def _end(self, *, writing: bool = True) -> None:
        """The app stands alone again; what was taken by then is written, if it can be."""
        session, self._recording = self._recording, None
        if session is None:
            return
        self._over = session.order.id
        mount: Any = self._mount
        if mount.app is session.copies:
            mount.app = session.copies.app
        try:
            if writing:
                await self._slices.run(session.write, self._redactors())
        finally:
            session.close()
        log.info("recorded %d exchanges; %d were dropped", session.count, session.copies.dropped)


class _Session:
    """What one worker writes for one order. All but ``close`` is for the thread of the slices."""

    def __init__(self, order: Order, data: Path, copies: Copies, finder: RuleFinder) -> None:
        self.order = order
        self.copies = copies
        self.count = 0
        self.is_full = False
        self._data = data
        self._finder = finder
        self._file: HarFile | None = None
        self._known: set[int] = set()
        self._of_route: Counter[str] = Counter()

    def write(self, redactors: RouteRedactors) -> None:
        """What waits. Raises OSError."""
        for copy in self.copies.take():
            if not self.is_full:
                self._write(copy, redactors)

    def _write(self, copy: Copy, redactors: RouteRedactors) -> None:
        rule = self._finder.of(copy.rule, copy.method)
        if rule is None or rule.endpoint.rpartition(".")[2] == STATIC:
            return
        route = str(rule.key)
        if (self.order.routes and route not in self.order.routes) or self._of_route[route] >= MOST_OF_A_ROUTE:
            return
        try:
            exchange = redacted(copy.said(route), redactors(route))
        except ValueError:  # an answer that is none of HTTP's
            return
        known = hash(exchange.input)
        if known in self._known:
            return
        line = entry(exchange)
        if self.order.size(self._data) + len(line) > self.order.most_bytes:
            self.is_full = True
            return
        self._known.add(known)
        self._of_route[route] += 1
        self._open().add(line)
        self.count += 1

    def _open(self) -> HarFile:
        if self._file is None:
            folder = self._data / FOLDER
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = HarFile(folder / f"{self.order.id}-{socket.gethostname()}-{os.getpid()}.har")
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
