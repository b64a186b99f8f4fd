"""Files of native routes: left to the system where nothing between wants to see each byte."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from graft.bridge.mount import LegacyMount
from graft.connection.forwarded import ForwardedHeaders
from graft.connection.protocol import Connection
from graft.mirroring.original import Original
from graft.request_record import RequestRecord
from graft.routing.file_offers import EXTENSION, offer_files
from graft.routing.frontdoor import FrontDoor
from graft.routing.native import discover
from graft.routing.table import RouteTable
from graft.types import ASGIApp, Message, Receive, Scope, Send
from tests.bridge.test_sent_files import LOOPS, Sent, Upper, open_files, parts
from tests.bridge.wire import connect, get, read_until, serving, talk, until

SIZE = 5_000_000


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


@contextmanager
def running(folder: Path, monkeypatch: pytest.MonkeyPatch, loop: str, *layers: Middleware) -> Iterator[int]:
    (folder / "big.bin").write_bytes(bytes(range(250)) * (SIZE // 250))
    (folder / "small.css").write_bytes(b"s" * 2000)
    (folder / "empty").write_bytes(b"")

    async def file(request: Request) -> Response:
        return FileResponse(folder / request.path_params["name"])

    class HandWritten(Response):
        """A file of 5,000 bytes, says who has not looked."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-length", b"5000")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": EXTENSION, "path": str(folder / scope["path_params"]["name"])})

    async def hand_written(request: Request) -> Response:
        return HandWritten()

    native = ModuleType("native_files")
    native.routes = [  # type: ignore[attr-defined]
        Route("/file/{name}", file),
        Route("/changed/{name}", file, middleware=[Middleware(Upper)]),
        Route("/by-hand/{name}", hand_written),
        Mount("/static", StaticFiles(directory=folder)),
    ]
    monkeypatch.setitem(sys.modules, "native_files", native)
    table = RouteTable(discover("native_files"), ())
    mount = LegacyMount(Flask("nothing"))
    front = [*layers, Middleware(ForwardedHeaders, "127.0.0.1"), Middleware(FrontDoor, legacy=mount)]
    app = Starlette(routes=[*table.routes(lambda row, app: app, _as_it_is), Mount("", mount)], middleware=front)
    with serving(app, loop=loop, http=Connection, log_config=None) as port:
        try:
            talk(port, get("/first"))  # of a server that sends no lifespan: Starlette's own layer is gone after it
            yield port
        finally:
            mount.close(10)


def _as_it_is(app: ASGIApp) -> ASGIApp:
    return app


@LOOPS
@pytest.mark.parametrize("path", ["/file/big.bin", "/static/big.bin"])
def test_a_big_file_leaves_by_the_system(
    loop: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    with running(tmp_path, monkeypatch, loop) as port:
        status, headers, body = parts(talk(port, get(path)))
        assert (status, headers["content-length"], headers["x-served-by"]) == (200, str(SIZE), "native")
        assert body == (tmp_path / "big.bin").read_bytes()
        assert sent.bytes == SIZE
        until(lambda: open_files(tmp_path / "big.bin") == 0)


@LOOPS
@pytest.mark.parametrize(
    ("request_of", "length", "body"),
    [
        (get("/file/small.css"), 2000, b"s" * 2000),
        (get("/file/empty"), 0, b""),
        (get("/file/big.bin", method="HEAD"), SIZE, b""),
        (get("/file/big.bin", "Range: bytes=0-9"), 10, bytes(range(10))),
    ],
)
def test_what_is_no_big_whole_file_goes_as_ever(
    request_of: bytes,
    length: int,
    body: bytes,
    loop: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: Sent,
) -> None:
    with running(tmp_path, monkeypatch, loop) as port:
        _, headers, found = parts(talk(port, request_of))
        assert (int(headers["content-length"]), found, sent.bytes) == (length, body, 0)
        until(lambda: open_files(tmp_path / "big.bin") == 0)


@LOOPS
def test_a_middleware_of_the_route_or_of_the_app_sees_each_byte(
    loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    changed = (bytes(range(250)) * (SIZE // 250)).replace(b"\0", b"!")
    with running(tmp_path, monkeypatch, loop) as port:
        assert parts(talk(port, get("/changed/big.bin")))[2] == changed
    with running(tmp_path, monkeypatch, loop, Middleware(Upper)) as port:
        assert parts(talk(port, get("/file/big.bin")))[2] == changed
    assert sent.bytes == 0


async def test_a_request_whose_answer_is_kept_for_the_mirror_is_offered_nothing() -> None:
    async def ends(scope: Scope, receive: Receive, send: Send) -> None: ...

    class Server:
        send_file = ends

        async def send(self, message: Message) -> None: ...

    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    RequestRecord.of(scope).file_way = Server().send
    offer_files(scope)
    assert EXTENSION in scope.pop("extensions")
    Original(cast(Any, None), cast(Any, None), scope, cast(Any, ends), cast(Any, ends), 1000)
    offer_files(scope)
    assert "extensions" not in scope


@LOOPS
def test_a_client_that_leaves_leaves_no_file_open(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, monkeypatch, loop) as port:
        with connect(port) as client:
            client.sendall(get("/file/big.bin"))
            read_until(client, b"\r\n\r\n")
        until(lambda: open_files(tmp_path / "big.bin") == 0)


@LOOPS
@pytest.mark.parametrize("name", ["pipe", "small.css", "gone", "big.bin"])
def test_what_can_not_be_sent_as_it_was_said_is_cut_and_holds_no_thread(
    loop: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with running(tmp_path, monkeypatch, loop) as port:
        _, headers, body = parts(talk(port, get(f"/by-hand/{name}")))
        assert headers["content-length"] == "5000"
        assert len(body) == {"small.css": 2000, "big.bin": 5000}.get(name, 0)
        until(lambda: open_files(tmp_path / name) == 0)
