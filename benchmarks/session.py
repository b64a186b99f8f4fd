"""What Flask's session costs a native route that doesn't touch it: the same route with and without, under Uvicorn.

    python -m benchmarks.session [ROUNDS]

Uvicorn's own protocol is fed requests without a socket between, so that what is measured is Python's work and nothing
of the kernel's; a socket would make the share smaller. Both routes take turns in one process in short batches, and
the quickest batch of each counts: it is the one that nothing else on the machine disturbed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import Any

from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from graft.flaskside import sessions
from graft.observe import logs
from graft.routing.frontdoor import FrontDoor
from graft.routing.router import directly
from graft.settings import Settings
from graft.threads.pool import Pool

BATCH = 100
REQUEST = (
    b"GET /%s HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, br\r\nCookie: session=eyJ1c2VyIjoxfQ.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbb; theme=dark\r\n\r\n"
)


async def hello(request: Request) -> Response:
    return JSONResponse({"hello": "world"})


def make_app() -> Starlette:
    flask_app = Flask(__name__)
    flask_app.secret_key = "benchmark"
    bare, wrapped = Route("/bare", hello), Route("/wrapped", hello)
    bare.app = directly(bare)
    wrapped.app = sessions.wrap(directly(wrapped), flask_app, Pool())
    return Starlette(routes=[bare, wrapped], middleware=[Middleware(FrontDoor)])


class Wire(asyncio.Transport):
    """A connection that swallows what is written and tells when a response is complete."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 8000)})
        self.responses = 0

    def write(self, data: Any) -> None:
        self.responses += data.count(b'{"hello":"world"}')

    def is_closing(self) -> bool:
        return False


async def batch(protocol: HttpToolsProtocol, wire: Wire, path: bytes) -> float:
    """Microseconds a request."""
    request = REQUEST % path
    start = time.perf_counter()
    for _ in range(BATCH):
        expected = wire.responses + 1
        protocol.data_received(request)
        while wire.responses < expected:
            await asyncio.sleep(0)
    return (time.perf_counter() - start) / BATCH * 1e6


async def measure(rounds: int) -> None:
    config = Config(make_app(), access_log=False, lifespan="off", log_config=None)
    config.load()
    protocol = HttpToolsProtocol(config=config, server_state=ServerState(), app_state={})
    wire = Wire()
    protocol.connection_made(wire)
    taken: dict[bytes, list[float]] = {b"bare": [], b"wrapped": []}
    for _ in range(rounds):
        for path, times in taken.items():
            times.append(await batch(protocol, wire, path))
    bare, wrapped = min(taken[b"bare"]), min(taken[b"wrapped"])
    print(f"without a session {bare:.2f} us a request, with one untouched {wrapped:.2f} us: {wrapped / bare - 1:+.2%}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    logs.configure(Settings.load())
    with open(os.devnull, "w") as nowhere:
        for handler in logging.getLogger().handlers:
            assert isinstance(handler, logging.StreamHandler)
            handler.setStream(nowhere)
        print("as the gateway is served, with its access log: ", end="")
        asyncio.run(measure(rounds))
    logging.disable(logging.INFO)
    print("with no log at all: ", end="")
    asyncio.run(measure(rounds))


if __name__ == "__main__":
    main()
