"""Telling the fleet, again and again: what fails once fails for a while, and is said once. (event loop)"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from graft.errors import FleetUnavailable
from graft.threads.starting import NoThread

log = logging.getLogger("graft.fleet")


class Telling:
    """``look`` tells what is due, and ``what`` that is, for the log."""

    def __init__(self, look: Callable[[], Awaitable[None]], what: str) -> None:
        self._look = look
        self._what = what
        self._failing = False

    async def once(self) -> None:
        """Raises nothing."""
        try:
            await self._look()
            self._failing = False
        except (NoThread, FleetUnavailable):
            pass  # whoever looks for the host says so
        except Exception:
            if not self._failing:
                log.exception("the %s of this host could not be told to the fleet; it is tried again", self._what)
            self._failing = True
