"""LegacyMount in the places where a2wsgi's middleware stands, and over a real socket."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from flask import Flask, Response, redirect, request, send_file, url_for
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from graft.bridge import mount as mount_module
from graft.bridge.mount import LegacyMount
from tests.bridge.test_wsgi_call import mounted
from tests.bridge.wire import Conversation, connect, get, post, read_until, serving, talk, until, until_true


def legacy_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def index() -> str:
        return "index"

    @app.get("/where")
    def where() -> dict[str, str]:
        return {"script": request.script_root, "path": request.path, "url": url_for("index")}

    @app.route("/echo", methods=["POST", "PUT"])
    def echo() -> bytes:
        return request.get_data()

    @app.get("/away")
    def away() -> Any:
        return redirect(url_for("where"))

    return app


def test_it_is_a_subclass_of_a2wsgis_middleware_with_the_same_arguments() -> None:
    app = legacy_app()
    mount = LegacyMount(app, 3, 5)
    assert isinstance(mount, WSGIMiddleware)
    assert mount.app is app
    assert mount.send_queue_size == 5
    assert LegacyMount(app=app, workers=2, send_queue_size=1).pool.threads == 2


def test_it_works_at_the_root_of_a_starlette_app_and_under_a_prefix_without_any_lifespan() -> None:
    mount = LegacyMount(legacy_app())

    async def native(request: Any) -> PlainTextResponse:
        return PlainTextResponse("native")

    app = Starlette(routes=[Route("/native", native), Mount("/old", mount), Mount("/", mount)])
    client = TestClient(app)
    assert client.get("/native").text == "native"
    assert client.get("/").text == "index"
    assert client.get("/where").json() == {"script": "", "path": "/where", "url": "/"}
    assert client.get("/old/where").json() == {"script": "/old", "path": "/where", "url": "/old/"}
    assert client.get("/old/away").url.path == "/old/where"
    assert client.post("/old/echo", content=b"abc").content == b"abc"
    assert client.get("/missing").status_code == 404
    assert client.post("/").status_code == 405
    assert mount.close(10)


def test_its_lifespan_ends_the_threads_and_it_may_live_again() -> None:
    mount = LegacyMount(legacy_app(), name="lifespan")
    for _ in range(2):
        with TestClient(mount) as client:
            assert client.get("/").text == "index"
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("lifespan")]


async def test_a_lifespan_does_not_wait_for_a_stuck_thread_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mount_module, "CLOSING", 0.01)
    gate = threading.Event()
    app = Flask(__name__)
    app.get("/")(lambda: str(gate.wait(10)))
    mount = LegacyMount(app, 1)
    asking = asyncio.create_task(Conversation().ask(mount))
    await until_true(lambda: mount.pool.stats().busy == 1)
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await mount({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "threads still work" in caplog.text
    gate.set()
    await asking


def test_switched_off_a_websocket_is_refused_cleanly() -> None:
    client = TestClient(Starlette(routes=[Mount("/", LegacyMount(legacy_app(), websockets=0))]))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/socket"):
        pass


async def test_a_scope_of_another_kind_is_left_alone() -> None:
    async with mounted(legacy_app()) as mount:
        await mount({"type": "unknown"}, None, None)  # type: ignore[arg-type]


async def test_context_variables_of_the_request_are_seen_by_the_view_and_its_stream() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    app = Flask(__name__)

    @app.get("/")
    def view() -> Response:
        def chunks() -> Iterator[str]:
            yield variable.get()

        return Response(chunks(), headers={"X-Seen": variable.get()})

    variable.set("here")
    async with mounted(app) as mount:
        got = await Conversation().ask(mount)
        assert (got.headers["x-seen"], got.body) == ("here", b"here")


async def test_closing_waits_for_the_requests_that_run() -> None:
    gate = threading.Event()
    app = Flask(__name__)
    app.get("/")(lambda: str(gate.wait(10)))
    mount = LegacyMount(app, 1)
    asking = asyncio.create_task(Conversation().ask(mount))
    await until_true(lambda: mount.pool.stats().busy == 1)
    closing = asyncio.create_task(mount.aclose())
    await asyncio.sleep(0)
    gate.set()
    assert await closing
    assert (await asking).body == b"True"


# Over a real socket, where the server has its own opinions.


def test_chunked_uploads_arrive_over_a_socket() -> None:
    chunked = get("/echo", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    with serving(LegacyMount(legacy_app())) as port:
        assert talk(port, chunked).endswith(b"abcdefg")


def test_expect_continue_over_a_socket() -> None:
    head = get("/echo", "Content-Length: 5", "Expect: 100-continue", method="POST")
    with serving(LegacyMount(legacy_app())) as port, connect(port) as connection:
        connection.sendall(head)
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(b"hello")
        assert b"200 OK" in read_until(connection, b"hello")


def test_expect_continue_is_answered_without_a_go_ahead_when_the_body_is_not_wanted() -> None:
    head = get("/missing", "Content-Length: 5", "Expect: 100-continue", method="POST")
    with serving(LegacyMount(legacy_app())) as port, connect(port) as connection:
        connection.sendall(head)
        assert read_until(connection, b"\r\n").startswith(b"HTTP/1.1 404")


def test_head_has_the_length_of_get_and_no_body_over_a_socket() -> None:
    with serving(LegacyMount(legacy_app())) as port:
        answer = talk(port, get("/", method="HEAD"))
        assert b"content-length: 5" in answer.lower()
        assert answer.endswith(b"\r\n\r\n")


def test_conditional_answers_have_no_body_over_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("content")
    app = Flask(__name__)
    app.get("/")(lambda: send_file(path))
    app.get("/none", endpoint="none")(lambda: ("", 204))
    with serving(LegacyMount(app)) as port:
        first = talk(port, get("/"))
        assert first.endswith(b"content")
        etag = next(line for line in first.split(b"\r\n") if line.lower().startswith(b"etag"))[6:].decode()
        again = talk(port, get("/", f"If-None-Match: {etag}"))
        assert again.startswith(b"HTTP/1.1 304")
        assert again.endswith(b"\r\n\r\n")
        part = talk(port, get("/", "Range: bytes=1-3"))
        assert part.startswith(b"HTTP/1.1 206")
        assert part.endswith(b"\r\n\r\nont")
        assert talk(port, get("/none")).startswith(b"HTTP/1.1 204")


def test_a_raw_app_that_gives_304_a_length_does_not_break_the_connection() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("304 Not Modified", [("Content-Length", "7")])
        return []

    with serving(LegacyMount(app)) as port, connect(port) as connection:
        for _ in range(2):
            connection.sendall(get("/").replace(b"Connection: close", b"X-A: 1"))
            assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 304")


def test_cookies_and_repeated_headers_survive_both_ways_over_a_socket() -> None:
    app = Flask(__name__)

    @app.get("/")
    def view() -> Response:
        response = Response(f"{request.cookies['a']} {request.cookies['b']} {request.headers['X-Many']}")
        response.set_cookie("c", "3")
        response.set_cookie("d", "4")
        return response

    with serving(LegacyMount(app)) as port:
        answer = talk(port, get("/", "Cookie: a=1", "X-Many: x", "Cookie: b=2", "X-Many: y"))
        assert answer.endswith(b"1 2 x,y")
        assert answer.lower().count(b"set-cookie:") == 2


def test_paths_over_a_socket_keep_what_the_client_sent() -> None:
    app = Flask(__name__)

    @app.get("/<path:rest>")
    def view(rest: str) -> str:
        return f"{rest}|{request.environ['REQUEST_URI']}"

    with serving(LegacyMount(app)) as port:
        assert talk(port, get("/a%2Fb%20c/%C3%A9?q=%2F")).endswith("a/b c/é|/a%2Fb%20c/%C3%A9?q=%2F".encode())


def test_a_broken_stream_is_cut_so_that_the_client_can_tell() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        gate.wait(10)
        raise ValueError

    gate = threading.Event()
    with serving(LegacyMount(app)) as port, connect(port) as connection:
        connection.sendall(get("/"))
        received = read_until(connection, b"first")
        gate.set()
        while part := connection.recv(1000):
            received += part
        assert not received.endswith(b"0\r\n\r\n")


def test_requests_over_one_connection_follow_each_other() -> None:
    with serving(LegacyMount(legacy_app())) as port, connect(port) as connection:
        for _ in range(5):
            connection.sendall(post("/echo", b"ping").replace(b"Connection: close", b"X-A: 1"))
            read_until(connection, b"ping")


def test_a_413_leaves_the_client_able_to_read_it() -> None:
    upload = post("/echo", b"x" * 300_000).replace(b"Connection: close", b"X-A: 1")
    with serving(LegacyMount(legacy_app(), max_body=1000)) as port, connect(port) as connection:
        connection.sendall(upload)
        assert read_until(connection, b"body_too_large").startswith(b"HTTP/1.1 413")
        connection.sendall(get("/"))
        assert read_until(connection, b"index").count(b"200 OK") == 1


def test_a_unix_socket_works(tmp_path: Path) -> None:
    import uvicorn

    app = Flask(__name__)
    app.get("/")(lambda: f"{request.host} {request.environ['SERVER_NAME']} {request.remote_addr}")
    path = str(tmp_path / "s")
    server = uvicorn.Server(uvicorn.Config(LegacyMount(app), uds=path, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(get("/"))
            assert b"test test " in read_until(connection, b"test test")
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_huge_body_costs_little_memory(direction: str) -> None:
    import psutil

    size = 200 * 1024 * 1024
    block = b"x" * 65536
    app = Flask(__name__)

    @app.get("/down")
    def down() -> Response:
        return Response(block for _ in range(size // len(block)))

    @app.post("/up")
    def up() -> str:
        total = 0
        while data := request.stream.read(65536):
            total += len(data)
        return f"total {total}"

    process = psutil.Process()
    with serving(LegacyMount(app)) as port, connect(port) as connection:
        talk(port, get("/missing"))
        before = highest = process.memory_info().rss
        if direction == "down":
            connection.sendall(get("/down"))
            while connection.recv(1_000_000):
                highest = max(highest, process.memory_info().rss)
        else:
            connection.sendall(get("/up", f"Content-Length: {size}", method="POST"))
            for _ in range(size // len(block)):
                connection.sendall(block)
                highest = max(highest, process.memory_info().rss)
            assert f"total {size}".encode() in read_until(connection, b"total ")
    assert highest - before < 20 * 1024 * 1024
