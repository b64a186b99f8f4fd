"""The watcher: every worker follows switches.toml, edited in place, replaced, or swapped behind a symlink."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from graft import files
from graft.cancellation import cancel_and_wait
from graft.errors import SwitchesError
from graft.operations.edited import Edited
from graft.operations.switches import Switches, parse, read

POLL_SECONDS = 0.15
SETTLE_SECONDS = 0.05
"""A changed file is read twice, so far apart: half-written ones are not taken for empty ones."""

_YOUNG_NS = 2_000_000_000
"""A file changed so recently may change again without another timestamp, so its text is compared as well."""

Signature = tuple[int, int, int, int, int] | None
Subscriber = Callable[[Switches], None]

logger = logging.getLogger(__name__)


class Aside(Protocol):
    """What is laid over what the file says: see ``TripsAside``. Its methods block."""

    def signature(self) -> object: ...

    def over(self, switches: Switches) -> Switches: ...


class Watcher:
    """Keeps ``switches`` at what the file says: ``async with Watcher(path): ...``.

    A broken edit changes nothing: it is logged once and kept in ``problem`` until the file is good again. The last good
    text is kept at ``last_good`` too, so that a worker which starts meanwhile does not differ from the others; without
    one, a file that is broken at the start raises SwitchesError. What people change is recorded by ``edited``; the
    trips ``aside`` are laid over what the file says.
    """

    def __init__(
        self,
        path: Path,
        last_good: Path | None = None,
        edited: Edited | None = None,
        aside: Aside | None = None,
        poll: float = POLL_SECONDS,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        self.path = path
        self._poll = poll
        self._settle = settle
        self._edited = edited
        self._aside = aside
        self._aside_signature = aside.signature() if aside is not None else None
        self.problem: SwitchesError | None = None
        self._last_good = last_good
        self._subscribers: list[Subscriber] = []
        self._signature = _signature(path)
        self._text: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._own = self._first()
        self.switches = self._held(self._own)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have ``subscriber`` called, on the event loop, with the switches of now and with each later change."""
        self._subscribers.append(subscriber)
        subscriber(self.switches)

    async def __aenter__(self) -> Self:
        await self._record()  # what was edited while no gateway ran
        self._task = asyncio.create_task(self._follow(), name="graft-switches")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await cancel_and_wait([self._task])

    def _first(self) -> Switches:
        try:
            text = read(self.path)
            switches = parse(text, self.path)
        except SwitchesError as error:
            if self._last_good is None or not self._last_good.is_file():
                raise
            self._report(error)
            return parse(read(self._last_good), self._last_good)
        self._text = text
        self._keep(text)
        return switches

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.look()
                await self._look_aside()
            except Exception:
                logger.exception("%s could not be followed; still on its last good state", self.path)

    async def look(self) -> None:
        """Take over what the file says now. Raises nothing about it."""
        signature = _signature(self.path)
        if signature == self._signature and not _is_young(signature):
            return
        try:
            # In a thread, step by step: a disk may hang, and the TOML of a large file takes its time.
            text = await asyncio.to_thread(read, self.path)
            if text == self._text:
                self._signature = signature
                return
            await asyncio.sleep(self._settle)
            if _signature(self.path) != signature or await asyncio.to_thread(read, self.path) != text:
                return  # it is being written: look again
            self._signature = signature
            try:
                switches = await asyncio.to_thread(parse, text, self.path)
            finally:
                self._text = text  # a broken one, too, is not parsed again while it stays as it is
            self._is_good()
            self._own = switches
            self._change_to(await asyncio.to_thread(self._held, switches))
            await asyncio.to_thread(self._keep, text)  # it waits for the disk
            await self._record()
        except SwitchesError as error:
            if self._signature != signature:  # it could not even be read
                self._signature, self._text = signature, None
            self._report(error)

    async def _look_aside(self) -> None:
        if self._aside is not None and (signature := self._aside.signature()) != self._aside_signature:
            self._aside_signature = signature
            self._change_to(await asyncio.to_thread(self._held, self._own))

    def _held(self, switches: Switches) -> Switches:
        return self._aside.over(switches) if self._aside is not None else switches

    async def _record(self) -> None:
        if self._edited is not None:
            await asyncio.to_thread(self._edited.look)

    def _is_good(self) -> None:
        if self.problem is not None:
            logger.info("%s is good again", self.path)
            self.problem = None

    def _keep(self, text: str) -> None:
        if self._last_good is None:
            return
        try:
            files.make_data_folder(self._last_good.parent)
            files.replace(self._last_good, text.encode())
        except OSError as error:
            logger.warning("%s can't be written (%s): a restart needs a good %s", self._last_good, error, self.path)

    def _change_to(self, switches: Switches) -> None:
        if switches == self.switches:
            return
        self.switches = switches
        logger.info("%s changed: %d routes", self.path, len(switches))
        for subscriber in self._subscribers:
            try:
                subscriber(switches)
            except Exception:
                logger.exception("a subscriber of %s failed", self.path)

    def _report(self, problem: SwitchesError) -> None:
        if str(problem) != str(self.problem):
            logger.error("%s The last good state stays.", problem)
        self.problem = problem


def _signature(path: Path) -> Signature:
    """What tells one state of the file from another. ``stat`` follows symlinks, so a swapped one is another file."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _is_young(signature: Signature) -> bool:
    return signature is not None and time.time_ns() - signature[3] < _YOUNG_NS
