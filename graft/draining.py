"""How a worker's connections end: without losing the request that is just on its way into one.

Uvicorn closes every connection without a request in the moment in which a worker is asked to leave. But a proxy may
have opened one a millisecond ago, or be writing into one that it kept; it gets a reset, and what it may not repeat is
a 502 for the user. Here such a connection stays open for a last call. A request that comes is answered, with
``Connection: close``, so that no further one follows.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LAST_CALL = 0.5
"""Seconds that a quiet connection is kept: more than a proxy on a busy machine needs from connecting to writing."""


class DrainingProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with a last call."""

    _last_call = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.server_state in _leaving:  # it was accepted in the last moment, and announced only now
            self.shutdown()

    def shutdown(self) -> None:
        """The server leaves."""
        _leaving.add(self.server_state)
        if self._answering():
            super().shutdown()
        elif not self._last_call:
            self._last_call = True
            self.loop.call_later(LAST_CALL, self._close_if_quiet)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._last_call and self.cycle is not None:
            self.cycle.keep_alive = False

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_if_quiet(self) -> None:
        if not self._answering() and not self.transport.is_closing():
            self.transport.close()


_leaving: WeakSet[Any] = WeakSet()  # the states of servers that have been asked to leave
