"""A gateway with a Flask app for tests of the express way, and the ways to it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import flask
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graft.bridge.express import Express
from graft.bridge.mount import LegacyMount
from graft.connection.forwarded import ForwardedHeaders
from graft.connection.protocol import Connection
from graft.routing.frontdoor import FrontDoor
from graft.types import PEER as PEER_KEY
from tests.connection.wire import Wire, served, turn

PEER = "127.0.0.9"  # of a Wire


class Gateway:
    """The app, with its Flask app under it. ``gate`` is what the view /wait waits for."""

    def __init__(self, *, allowed: tuple[str, ...] = (), **limits: Any) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.closed: list[str] = []
        self.flask = self._flask()
        self.mount = LegacyMount(self.flask, **{"workers": 4, **limits})
        self.app = Starlette(
            routes=[
                Route("/native", _native, methods=["GET", "POST"]),
                Route("/items/{id:int}", _native),
                Route("/slashed/", _native),
                Mount("", self.mount),
            ],
            middleware=[
                Middleware(ForwardedHeaders, PEER, ("host", "port", "prefix"), allowed),
                Middleware(
                    FrontDoor, legacy=self.mount, legacy_has=lambda path, scope: path not in ("/native", "/slashed")
                ),
            ],
        )

    async def start(self) -> None:
        """Give the app its first scope, as a server does at its start."""
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            assert message["type"].endswith(".complete"), message

        await self.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    async def in_front(self, scope: Any, receive: Any, send: Any) -> None:
        """What nobody knows stands in front of the app: the express way is closed."""
        await self.app(scope, receive, send)

    def _flask(self) -> Flask:
        app = Flask("express_app")

        @app.route("/", methods=["GET", "POST"])
        def index() -> str:
            return "hello"

        @app.post("/echo")
        def echo() -> bytes:
            return flask.request.get_data()

        @app.route("/environ", methods=["GET", "POST", "PUT", "PROPFIND"])
        def environ() -> Any:
            seen = {key: value for key, value in flask.request.environ.items() if isinstance(value, (str, bool, tuple))}
            scope = flask.request.environ["asgi.scope"]
            seen["scope"] = sorted(set(scope) - {PEER_KEY})  # Uvicorn keeps no peer
            seen["client"], seen["state"] = scope["client"], sorted(scope["state"])
            seen.pop("HTTP_X_REQUEST_ID", None)
            return flask.jsonify(seen)

        @app.get("/status/<int:status>")
        def status(status: int) -> Any:
            return "" if status in (204, 304) else "ok", status, {"X-Y": "z"}

        @app.get("/headers")
        def headers() -> Any:
            response = flask.make_response("ok")
            response.set_cookie("a", "b")
            response.set_cookie("c", "d")
            response.headers["X-Served-By"] = "somebody"
            response.headers["Connection"] = "keep-alive"
            return response

        @app.get("/close")
        def close() -> Any:
            return "ok", {"Connection": "close"}

        @app.get("/chunks")
        def chunks() -> Any:
            return app.response_class(self._chunks("one", "two"))

        @app.get("/endless")
        def endless() -> Any:
            def parts() -> Iterator[str]:
                try:
                    while not self.gate.wait(0.01):
                        yield "part"
                finally:
                    self.closed.append("endless")

            return app.response_class(parts())

        @app.get("/chunks-of-a-length")
        def chunks_of_a_length() -> Any:
            return app.response_class(self._chunks("one", "two"), headers={"Content-Length": "6"})

        @app.get("/big/<int:size>")
        def big(size: int) -> bytes:
            return b"x" * size

        @app.post("/unread")
        def unread() -> str:
            return "ok"

        @app.get("/raises")
        def raises() -> str:
            raise RuntimeError("before its response")

        @app.get("/raises-late")
        def raises_late() -> Any:
            return app.response_class(self._chunks("half", RuntimeError("in its response")))

        @app.route("/wait", methods=["GET", "POST"])
        def wait() -> str:
            self.begun.release()
            assert self.gate.wait(20)
            return "waited"

        return app

    def _chunks(self, *parts: Any) -> Iterator[str]:
        try:
            for part in parts:
                if isinstance(part, Exception):
                    raise part
                yield part
                time.sleep(0.03)  # the loop has the part by now, and sends it by itself
        finally:
            self.closed.append("chunks")


async def _native(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"native {request.url.path} {(await request.body()).decode()}")


async def connected(way: str, gateway: Gateway, **options: Any) -> tuple[Any, Wire]:
    """A new connection: "express", "asgi" by Graft's connection, or "uvicorn" by Uvicorn's."""
    await gateway.start()
    app = gateway.in_front if way == "asgi" else gateway.app
    kind = HttpToolsProtocol if way == "uvicorn" else Connection
    protocol, wire = served(kind, app, interface="asgi3", proxy_headers=True, forwarded_allow_ips=PEER, **options)
    assert way == "uvicorn" or (protocol.express is not None) is (way == "express")
    return protocol, wire


async def settled(protocol: Any, wire: Wire) -> None:
    """Return when nothing of what has come is being answered, but for a request whose body is still to come."""
    async with asyncio.timeout(10):
        while not wire.closing:
            await turn()
            if isinstance(protocol, Connection):
                if (protocol._active is None and not protocol._queue) or protocol._active is protocol._parser.reading:
                    break
            elif not protocol.server_state.tasks or protocol.cycle.more_body:
                break
            await asyncio.sleep(0.001)
    await turn()


class Taken:
    """Counts the requests that went the express way to a thread."""

    def __init__(self, monkeypatch: Any) -> None:
        self.count = 0
        begin = Express.begin

        def counting(express: Express, cycle: Any, access: Any) -> bool:
            taken = begin(express, cycle, access)
            self.count += taken
            return taken

        monkeypatch.setattr(Express, "begin", counting)
