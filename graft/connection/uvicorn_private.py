"""All that the connection uses of Uvicorn's inside, in one place. Read in 0.40 to 0.54.

``missing()`` says what a release has moved; ``graft.connection.chosen`` then takes Uvicorn's own protocol.
"""

from __future__ import annotations

import asyncio
import copy
import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.protocols.utils import (
    get_client_addr,
    get_local_addr,
    get_path_with_query_string,
    get_remote_addr,
    is_ssl,
)
from uvicorn.server import ServerState

from graft.chance import CHANCE
from graft.connection import leaving
from graft.connection.client_socket import LastCall
from graft.connection.frame_gate import FrameGate
from graft.types import ASGIApp

if TYPE_CHECKING:
    from graft.routing.express_way import ExpressWay

__all__ = [
    "Server",
    "State",
    "draw_apart",
    "get_client_addr",
    "get_local_addr",
    "get_path_with_query_string",
    "get_remote_addr",
    "is_ssl",
    "missing",
    "server_of",
]

CONFIG = ("loaded", "load", "root_path", "limit_concurrency", "timeout_keep_alive", "asgi_version")
LOADED = ("loaded_app", "ws_protocol_class")  # set by Config.load()
STATE = ("total_requests", "connections", "tasks", "default_headers")


def missing() -> str | None:
    """The first part that this Uvicorn has not, as ``Config.load``; None if all are there."""
    try:
        config = uvicorn.Config(_nobody, log_config=None)
        config.load()
        state = ServerState()
    except Exception as error:  # whatever it may be, it is not what was read
        return f"Config or ServerState ({error!r})"
    owners: list[tuple[str, object, tuple[str, ...]]] = [
        ("Config", config, CONFIG + LOADED),
        ("ServerState", state, STATE),
    ]
    for place, owner, names in owners:
        for name in names:
            if not hasattr(owner, name):
                return f"{place}.{name}"
    return None


def draw_apart() -> None:
    """Have Uvicorn draw the jitter of its ``--limit-max-requests`` from Graft's generator. It draws one in any
    case, when the app has been imported and may have seeded Python's."""
    server = sys.modules["uvicorn.server"]
    if hasattr(server, "random"):
        server.random = CHANCE  # type: ignore[attr-defined]


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    """An app that is never called."""


class State(Protocol):
    """Uvicorn's ServerState: what all connections of a server share with it."""

    total_requests: int
    connections: set[Any]  # until all are gone, a server that leaves waits
    tasks: set[asyncio.Task[None]]  # and then for these
    default_headers: list[tuple[bytes, bytes]]  # a new list each second, for the date


class Server:
    """What the connections of one server have in common. (loop)"""

    def __init__(self, config: Any, state: State, app_state: dict[str, Any]) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.state = state
        self.app_state = app_state
        self.app: ASGIApp = config.loaded_app
        self.root_path: str = config.root_path
        self.asgi = {"version": config.asgi_version, "spec_version": "2.3"}
        self.keep_alive: float = config.timeout_keep_alive
        self.limit: int | None = config.limit_concurrency
        self.speaks_websocket = config.ws_protocol_class is not None
        self.leaving = False
        self._express: ExpressWay | str | None = None
        self._end = leaving.worker
        if self._end is not None:
            self._end.join(state)
        self._done: asyncio.Future[None] | None = None
        self._heads: list[Callable[[], None]] = []

    def done(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """What is over already: awaited, it costs less than a coroutine that does nothing."""
        if self._done is None:
            self._done = loop.create_future()
            self._done.set_result(None)
        return self._done

    def write_head_soon(self, write: Callable[[], None]) -> None:
        """Call ``write`` in the loop's next turn: a head waits for its body, but no longer than that."""
        if not self._heads:
            asyncio.get_running_loop().call_soon(self._write_heads)
        self._heads.append(write)

    def _write_heads(self) -> None:
        heads, self._heads = self._heads, []
        for write in heads:
            write()

    def express(self) -> ExpressWay | None:
        """The quicker way to the app where it is open; it is known as soon as the app has had its first scope."""
        if self._express is None and self.limit is None:  # the limit counts tasks
            from graft.connection.forwarded import behind_the_servers
            from graft.routing.express_way import express_way

            self._express = express_way(*behind_the_servers(self.app))
        return None if isinstance(self._express, str) else self._express

    @cached_property
    def last_call(self) -> LastCall:
        """For the sockets of the app's WebSockets."""
        return LastCall()

    def full(self) -> bool:
        if self.limit is None:
            return False
        connections = len(self.state.connections) - (self._end is not None)  # which stands among them
        return connections >= self.limit or len(self.state.tasks) >= self.limit

    def ends_later(self, protocol: Any, task: asyncio.Task[None] | None = None) -> None:
        """``protocol`` has a WebSocket: its ``shutdown`` is called when the time of a leaving worker is over.

        ``task`` ends by itself then.
        """
        if self._end is not None:
            self._end.websocket(protocol, task)

    def websocket(self, app: ASGIApp, transport: asyncio.Transport, handshake: bytes, rest: bytes) -> FrameGate:
        """Give the connection to Uvicorn's WebSocket protocol, for ``app``; ``rest`` came behind the handshake. What
        the client sends waits in the gate until that is opened."""
        config = copy.copy(self.config)
        config.loaded_app = app
        protocol = config.ws_protocol_class(config=config, server_state=self.state, app_state=self.app_state)
        gate = FrameGate(protocol, transport, rest)
        self.ends_later(protocol)
        protocol.data_received(handshake)
        transport.set_protocol(gate)
        return gate


def server_of(config: Any, state: State, app_state: dict[str, Any]) -> Server:
    """The one Server of this ``state``."""
    found = _servers.get(state)
    if found is None:
        found = _servers[state] = Server(config, state, app_state)
    return found


_servers: WeakKeyDictionary[State, Server] = WeakKeyDictionary()
