"""Files that the Flask app sends: the system copies them into the socket, and no thread waits for the client."""

from __future__ import annotations

import gzip
import io
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from graft.bridge.mount import LegacyMount
from graft.connection import limits
from graft.connection.forwarded import ForwardedHeaders
from graft.connection.protocol import Connection
from graft.routing.frontdoor import FrontDoor
from tests.bridge.wire import connect, get, read_all, read_until, serving, talk, until

SIZE = 20_000_000  # more than the sockets of both ends hold
LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "big.bin"
    path.write_bytes(b"".join(number.to_bytes(4, "big") for number in range(SIZE // 4)))
    return path


class Sent:
    """What left by ``os.sendfile``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self._real = os.sendfile
        monkeypatch.setattr(os, "sendfile", self._send)

    def _send(self, *args: Any) -> int:
        sent = self._real(*args)
        self.bytes += sent
        return sent


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


def site(path: Path) -> Flask:
    app = Flask("files")

    @app.get("/file")
    def file() -> Response:
        return flask.send_file(path)

    @app.get("/page")
    def page() -> str:
        return "hello"

    @app.get("/memory")
    def memory() -> bytes:
        return b"m" * 5_000_000

    @app.get("/small")
    def small() -> Response:
        (path.parent / "small.css").write_bytes(b"s" * 100_000)
        return flask.send_from_directory(path.parent, "small.css")

    @app.get("/empty")
    def empty() -> Response:
        (path.parent / "empty").write_bytes(b"")
        return flask.send_file(path.parent / "empty")

    @app.get("/bytes")
    def of_bytes() -> Response:
        return flask.send_file(io.BytesIO(b"b" * 1_000_000), "text/plain")

    @app.get("/gzip")
    def unpacked() -> Response:
        packed = path.parent / "packed.gz"
        packed.write_bytes(gzip.compress(b"z" * 1_000_000, compresslevel=0))  # more than comes out
        return flask.Response(wrapped(gzip.open(packed)), headers={"Content-Length": "1000000"})

    @app.get("/pipe")
    def pipe() -> Response:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as end:
            end.write(b"p" * 50_000)
        return flask.Response(wrapped(os.fdopen(reading, "rb")), headers={"Content-Length": "50000"})

    @app.get("/temporary")
    def temporary() -> Response:
        made = tempfile.NamedTemporaryFile()  # noqa: SIM115 (who sends it closes it)
        made.write(b"not this" + b"t" * 1_000_000)
        made.seek(8)
        return flask.Response(wrapped(made), headers={"Content-Length": "1000000"}, direct_passthrough=True)

    @app.get("/part")
    def part() -> Response:
        opened = path.open("rb")
        opened.seek(4000)
        return flask.Response(wrapped(opened), headers={"Content-Length": "800000"}, direct_passthrough=True)

    @app.get("/too-long")
    def too_long() -> Response:
        return flask.Response(
            wrapped(path.open("rb")), headers={"Content-Length": str(SIZE + 1)}, direct_passthrough=True
        )

    def wrapped(file: Any) -> Any:
        return flask.request.environ["wsgi.file_wrapper"](file)

    return app


@contextmanager
def running(path: Path, loop: str, *layers: Middleware, **options: Any) -> Iterator[tuple[int, LegacyMount]]:
    mount = LegacyMount(site(path), **{"workers": 1, **options})
    front = [*layers, Middleware(ForwardedHeaders, "127.0.0.1"), Middleware(FrontDoor, legacy=mount)]
    app = Starlette(routes=[Mount("", mount)], middleware=front)
    with serving(app, loop=loop, http=Connection, log_config=None) as port:
        try:
            talk(port, get("/page"))  # from here on the express way is open
            yield port, mount
        finally:
            mount.close(10)


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), body


def open_files(path: Path) -> int:
    """How often this process has it open."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    return found


@LOOPS
def test_a_file_leaves_by_the_system_and_the_connection_goes_on(loop: str, big: Path, sent: Sent) -> None:
    with running(big, loop) as (port, _), connect(port) as client:
        for time in (1, 2):
            client.sendall(get("/file").replace(b"Connection: close\r\n", b""))
            head = read_until(client, b"\r\n\r\n")
            status, headers, body = parts(head)
            while len(body) < SIZE:
                body += client.recv(1_000_000)
            assert (status, headers["content-length"], headers["x-served-by"]) == (200, str(SIZE), "legacy")
            assert body == big.read_bytes()
            assert sent.bytes == SIZE * time
        client.sendall(get("/page"))
        assert parts(read_all(client))[2] == b"hello"
        until(lambda: open_files(big) == 0)


@LOOPS
@pytest.mark.parametrize(
    ("asked", "start", "end"), [("1000-9999999", 1000, 10_000_000), ("-700000", SIZE - 700_000, SIZE)]
)
def test_a_range_is_sent_by_the_system_too(
    loop: str, asked: str, start: int, end: int, big: Path, sent: Sent
) -> None:  # fmt: skip
    with running(big, loop) as (port, _):
        status, headers, body = parts(talk(port, get("/file", f"Range: bytes={asked}")))
    assert (status, headers["content-range"]) == (206, f"bytes {start}-{end - 1}/{SIZE}")
    assert body == big.read_bytes()[start:end]
    assert sent.bytes == end - start == int(headers["content-length"])


@LOOPS
def test_head_and_an_unchanged_file_have_no_body(loop: str, big: Path, sent: Sent) -> None:
    with running(big, loop) as (port, _):
        status, headers, body = parts(talk(port, get("/file", method="HEAD")))
        assert (status, headers["content-length"], body) == (200, str(SIZE), b"")
        status, _, body = parts(talk(port, get("/file", f"If-None-Match: {headers['etag']}")))
        assert (status, body) == (304, b"")
        assert sent.bytes == 0
        until(lambda: open_files(big) == 0)


@LOOPS
def test_a_client_of_http_1_0_gets_it_whole(loop: str, big: Path, sent: Sent) -> None:
    with running(big, loop) as (port, _):
        _, headers, body = parts(talk(port, b"GET /file HTTP/1.0\r\n\r\n"))
    assert body == big.read_bytes()
    assert headers["content-length"] == str(SIZE) == str(sent.bytes)


@LOOPS
@pytest.mark.parametrize(
    ("path", "body", "by_the_system"),
    [
        ("/part", None, 800_000),
        ("/temporary", b"t" * 1_000_000, 1_000_000),
        ("/small", b"s" * 100_000, 0),
        ("/empty", b"", 0),
        ("/bytes", b"b" * 1_000_000, 0),
        ("/gzip", b"z" * 1_000_000, 0),
        ("/pipe", b"p" * 50_000, 0),
    ],
)
def test_only_what_is_a_big_part_of_a_regular_file_is_left_to_the_system(
    loop: str, path: str, body: bytes | None, by_the_system: int, big: Path, sent: Sent
) -> None:
    with running(big, loop) as (port, _):
        status, headers, found = parts(talk(port, get(path)))
    assert found == (big.read_bytes()[4000:804_000] if body is None else body)
    assert (status, headers["content-length"], sent.bytes) == (200, str(len(found)), by_the_system)


@LOOPS
def test_a_file_that_is_shorter_than_its_length_says_ends_as_any_short_body(loop: str, big: Path, sent: Sent) -> None:
    with running(big, loop) as (port, _):
        _, headers, body = parts(talk(port, get("/too-long")))
    assert (headers["content-length"], len(body), sent.bytes) == (str(SIZE + 1), SIZE, 0)


@LOOPS
def test_a_client_that_stops_reading_keeps_no_thread_and_leaves_no_file_open(
    loop: str, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(big, loop, workers=1) as (port, mount), ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(5)]
        for client in clients:
            client.sendall(get("/file"))
            read_until(client, b"\r\n\r\n")
        until(lambda: mount.pool.stats().busy == 0)
        assert parts(talk(port, get("/page")))[2] == b"hello"  # by the one thread
        assert open_files(big) == 5
        body = read_all(clients.pop())
        assert body.endswith(big.read_bytes()[-1000:])
        for client in clients:
            client.close()
        until(lambda: open_files(big) == 0)


@LOOPS
def test_a_client_that_reads_nothing_for_too_long_is_ended(
    loop: str, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_PATIENCE", 0.2)
    with running(big, loop) as (port, _), connect(port) as client:
        client.sendall(get("/file"))
        read_until(client, b"\r\n\r\n")
        until(lambda: open_files(big) == 0)
        assert len(read_all(client)) < SIZE


@LOOPS
def test_a_file_that_is_cut_while_it_is_sent_cuts_the_connection(
    loop: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(b"c" * SIZE)
    with running(path, loop) as (port, _), connect(port) as client:
        caplog.set_level(logging.WARNING, "uvicorn.error")
        client.sendall(get("/file"))
        read_until(client, b"\r\n\r\n")
        os.truncate(path, 1000)
        assert len(read_all(client)) < SIZE - 1000
        until(lambda: "the file was cut while it was sent" in caplog.text)
        until(lambda: open_files(path) == 0)
        assert parts(talk(port, get("/page")))[2] == b"hello"


@LOOPS
def test_what_came_before_it_on_the_connection_goes_out_before_it(loop: str, big: Path, sent: Sent) -> None:
    with running(big, loop) as (port, _), connect(port) as client:
        kept = get("/memory").replace(b"Connection: close\r\n", b"")
        client.sendall(kept + get("/file").replace(b"Connection: close\r\n", b"") + get("/page"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        answer = read_all(client)
    _, _, rest = parts(answer)
    assert rest[:5_000_000] == b"m" * 5_000_000
    status, _, rest = parts(rest[5_000_000:])
    assert (status, rest[:SIZE] == big.read_bytes(), sent.bytes) == (200, True, SIZE)
    assert parts(rest[SIZE:])[2] == b"hello"


class Upper:
    """A middleware that knows nothing of files, and has to see each byte."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def changed(message: Any) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": message["body"].replace(b"\0", b"!")}
            await send(message)

        await self.app(scope, receive, changed)


@LOOPS
def test_a_middleware_in_front_sees_each_byte(loop: str, big: Path, sent: Sent) -> None:
    with running(big, loop, Middleware(Upper)) as (port, _):
        _, _, body = parts(talk(port, get("/file")))
    assert body == big.read_bytes().replace(b"\0", b"!")
    assert sent.bytes == 0


def test_what_is_not_in_memory_is_read_by_a_thread(big: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may take its time; the loop has not any."""
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr("graft.connection.file_transfer._is_in_memory", lambda descriptor, at: False)
    monkeypatch.setattr(os, "pread", lambda *args: read.append(args[1]) or real(*args))
    with running(big, "asyncio") as (port, _):
        assert parts(talk(port, get("/file")))[2] == big.read_bytes()
    assert sum(read) >= SIZE == sent.bytes


def test_the_access_record_has_the_time_until_the_file_was_sent(big: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "graft.access")
    with running(big, "asyncio") as (port, _), connect(port) as client:
        client.sendall(get("/file"))
        read_until(client, b"\r\n\r\n")
        assert "GET /file" not in caplog.text
        read_all(client)
        until(lambda: "GET /file 200 legacy" in caplog.text)
