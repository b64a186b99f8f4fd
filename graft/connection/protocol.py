"""A client's connection: Uvicorn's, with four corrections.

**No byte of a body is taken for a request.** See upgrades.py: only a WebSocket's handshake is an upgrade.

**Nothing is lost when a worker leaves.** Uvicorn closes every connection without a request in the moment in which a
worker is asked to leave. But a proxy may have opened one a millisecond ago, or be writing into one that it kept; it
gets a reset, and what it may not repeat is a 502 for the user. Here such a connection stays open for a last call. A
request that comes is answered, with ``Connection: close``, so that no further one follows.

**A response is one write.** Uvicorn writes the head of a response, and then its body: two system calls, two packets,
and a client that is woken twice. Here the head waits for what the app sends next, but no longer than the loop needs to
get to its next turn. It is a tenth of what a small response costs.

**A connection has one timer.** Uvicorn makes one after each response, and throws it away at the next request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graft.connection import upgrades

LAST_CALL = 0.5
"""Seconds that a quiet connection is kept: more than a proxy on a busy machine needs from connecting to writing."""

JOINED = 64 * 1024
"""Up to this size, in bytes, a body is copied behind its head; a bigger one is handed on beside it."""


class Connection(HttpToolsProtocol):
    """One connection, from its first byte to its last."""

    _last_call = False
    _handshake = False  # the request that is parsed is a WebSocket's handshake
    _head_again = False  # its head is parsed for the second time, and nobody told of it
    _refused = False  # nothing that comes from now on is looked at

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._loop = self.loop
        self.loop = self._patience = _Patience(self._loop)  # type: ignore[assignment]
        self.transport = _HeadFirst(transport, self._loop)  # type: ignore[assignment]
        if self.server_state in _leaving:  # it was accepted in the last moment, and announced only now
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._patience.end()

    def handle_websocket_upgrade(self) -> None:
        """The transport is the other protocol's from now on, and it gets the real one."""
        self.transport = self.transport.unwrapped()  # type: ignore[attr-defined]
        self._patience.end()
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        """The server leaves."""
        _leaving.add(self.server_state)
        if self._answering():
            super().shutdown()
        elif not self._last_call:
            self._last_call = True
            self._loop.call_later(LAST_CALL, self._close_if_quiet)

    def data_received(self, data: bytes) -> None:
        """As Uvicorn's, but for what follows a head that asks for an upgrade. See upgrades.py."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    if self._handshake:
                        self.handle_websocket_upgrade()
                        return
                    data = self._read_on(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refused = True
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def _read_on(self, rest: bytes) -> bytes:
        """What a new parser is to be fed: the same head, without the upgrade for which llhttp skipped the body."""
        headers = upgrades.without_upgrade(self.scope["headers"])
        method, version = self.scope["method"].encode("ascii"), self.scope["http_version"]
        self.parser = httptools.HttpRequestParser(self)
        self._head_again = True
        self.parser.feed_data(upgrades.head(method, self.url, version, headers))
        return rest

    def on_message_begin(self) -> None:
        if not self._head_again:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._head_again:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_again:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head_again:
            self._head_again = False
            return
        self._handshake = False
        if self.parser.should_upgrade():
            method = self.parser.get_method()
            if method == b"CONNECT":
                raise ValueError("CONNECT is not served")  # the parser makes an error of it
            self._handshake = self._should_upgrade_to_ws() and upgrades.is_handshake(
                method, self.parser.get_http_version(), self.headers
            )
            if not self._handshake:
                self.headers[:] = upgrades.without_upgrade(self.headers)
        super().on_headers_complete()
        if self._last_call and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        if self._handshake or not self.parser.should_upgrade():
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return self._handshake

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_if_quiet(self) -> None:
        if not self._answering() and not self.transport.is_closing():
            self.transport.close()


class _Patience:
    """The loop as Uvicorn's protocol uses it: for tasks, and for the one timer that it sets anew after each response.

    That timer is moved instead. It looks when it goes off whether it still is time, and goes on if not.
    """

    __slots__ = ("_due", "_give_up", "_loop", "_timer", "create_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # 0 while a request is being answered
        self._give_up: Callable[[], object] | None = None
        self.create_task = loop.create_task

    def call_later(self, delay: float, give_up: Callable[[], object]) -> _Patience:
        self._due = self._loop.time() + delay
        self._give_up = give_up
        if self._timer is None:
            self._timer = self._loop.call_later(delay, self._look)
        return self

    def cancel(self) -> None:
        self._due = 0.0

    def end(self) -> None:
        """The connection is over."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._give_up = None

    def _look(self) -> None:
        self._timer = None
        if not self._due:
            return  # the next response sets it again
        left = self._due - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        elif self._give_up is not None:
            self._give_up()


class _HeadFirst:
    """A transport that keeps the head of a response back until the next write, or the loop's next turn."""

    __slots__ = ("_head", "_loop", "_transport", "get_extra_info", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        head = self._head
        if head:
            self._head = b""
            if len(data) <= JOINED:
                self._transport.write(head + data)
            else:
                self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/1.1 "):  # a body that begins like this waits for a moment, too
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def unwrapped(self) -> asyncio.Transport:
        """The transport itself, with nothing kept back."""
        self._flush()
        return self._transport

    def _flush(self) -> None:
        head = self._head
        if head:
            self._head = b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


_leaving: WeakSet[Any] = WeakSet()  # the states of servers that have been asked to leave
