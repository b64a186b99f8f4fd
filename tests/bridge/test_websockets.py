"""WebSockets of an untouched Flask app, spoken to by real clients, with each class that may have the connection."""

from __future__ import annotations

import logging
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import request
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from graft.bridge import websocket
from graft.bridge.mount import LegacyMount
from graft.connection.protocol import Connection
from tests.bridge.websocket_apps import KEY, Seen, accept, frame, handshake, raw_app, sock_app
from tests.bridge.wire import connect, get, read_all, read_until, serving, talk, until
from tests.parts import nginx

pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated"),
    pytest.mark.filterwarnings("ignore:remove second argument of ws_handler"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
]

OWN = {"http": Connection, "loop": "uvloop"}
SERVERS = [
    pytest.param(OWN, id="own connection, uvloop"),
    pytest.param({"http": Connection, "loop": "asyncio"}, id="own connection, asyncio"),
    pytest.param({"http": "httptools", "ws": "websockets", "loop": "asyncio"}, id="websockets"),
    pytest.param({"http": "httptools", "ws": "websockets-sansio", "loop": "uvloop"}, id="websockets-sansio"),
    pytest.param({"http": "h11", "ws": "wsproto", "loop": "asyncio"}, id="wsproto"),
]
every_server = pytest.mark.parametrize("server", SERVERS)


@pytest.fixture(autouse=True)
def _no_socket_of_a_client_stays_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The client's library leaves some to the garbage collector, which tells another test of them."""
    opened: list[socket.socket] = []

    def recorded(make: Callable[..., socket.socket]) -> Callable[..., socket.socket]:
        def make_and_record(*args: Any, **named: Any) -> socket.socket:
            opened.append(make(*args, **named))
            return opened[-1]

        return make_and_record

    monkeypatch.setattr(socket, "create_connection", recorded(socket.create_connection))
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", recorded(ssl.SSLContext.wrap_socket))
    yield
    for connection in opened:
        connection.close()


def talk_to(port: int, path: str, **options: Any) -> ClientConnection:
    return open_websocket(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=20, legacy=True, **options)


def closing_of(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=10)
    received = closed.value.rcvd
    return (received.code, received.reason) if received is not None else (1006, "")


@every_server
def test_texts_and_megabytes_come_back_with_the_sub_protocol_and_the_close_code_of_the_app(server: Any) -> None:
    with (
        serving(LegacyMount(sock_app()), **server) as port,
        talk_to(port, "/echo", subprotocols=["other", "chat"]) as client,
    ):
        assert client.subprotocol == "chat"
        client.send("grüß dich")
        assert client.recv(timeout=10) == "grüß dich"
        large = bytes(range(256)) * 20_000
        client.send(large)
        assert client.recv(timeout=20) == large
        assert client.ping().wait(10)
        client.send("leave")
        assert closing_of(client) == (4001, "as you wish")


@every_server
def test_the_client_s_close_code_reaches_the_view_and_its_thread_is_given_back(server: Any) -> None:
    seen = Seen()
    mount = LegacyMount(sock_app(seen))
    with serving(mount, **server) as port:
        with talk_to(port, "/echo") as client:
            client.send("one")
            assert client.recv(timeout=10) == "one"
            assert mount.websockets.open == 1
            client.close(4321, "that is all")
        until(lambda: seen.closed and not mount.websockets.open)
    assert seen.closed == [(4321, "that is all")]


@every_server
def test_a_view_that_returns_closes_with_1000(server: Any) -> None:
    with serving(LegacyMount(sock_app()), **server) as port, talk_to(port, "/echo") as client:
        client.send("return")
        assert closing_of(client) == (1000, "")


@every_server
def test_the_app_may_answer_the_handshake_like_any_request(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    mount = LegacyMount(sock_app())
    with serving(mount, **server) as port:
        for path, status in (("/echo?refuse=401", 401), ("/nothing", 404), ("/page", 400), ("/broken", 500)):
            with pytest.raises(InvalidStatus) as refused:
                talk_to(port, path)
            assert refused.value.response.status_code == status
            assert b"<!doctype html>" in (refused.value.response.body or b"").lower()
        with connect(port) as connection:
            connection.sendall(handshake("/echo?login=1"))
            answer = read_until(connection, b"\r\n\r\n").lower()
        assert answer.startswith(b"http/1.1 302")
        assert b"\r\nlocation: /login\r\n" in answer
        until(lambda: not mount.websockets.open)
        assert talk(port, get("/page")).endswith(b"a page")
    assert "broken on purpose" in caplog.text


@every_server
def test_an_app_that_speaks_on_werkzeug_s_socket_itself_is_served(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mount = LegacyMount(raw_app)
    with serving(mount, **server) as port, talk_to(port, "/") as client:
        client.send("raw")
        assert client.recv(timeout=10) == "raw"
        assert closing_of(client) == (1000, "")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@every_server
def test_a_client_that_vanishes_gives_its_thread_back(server: Any) -> None:
    seen = Seen()
    mount = LegacyMount(sock_app(seen))
    with serving(mount, **server) as port:
        with connect(port) as connection:
            connection.sendall(handshake("/echo"))
            assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101")
            until(lambda: mount.websockets.open == 1)
        until(lambda: seen.closed and not mount.websockets.open, 15)


@every_server
def test_a_view_stands_still_while_its_client_does_not_read(server: Any) -> None:
    seen = Seen()
    mount = LegacyMount(sock_app(seen))
    with serving(mount, **server) as port:
        with connect(port) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            connection.sendall(handshake("/flood"))
            read_until(connection, b"\r\n\r\n")
            reached = -1
            while reached != seen.sent:  # until nothing moves for a while
                reached = seen.sent
                threading.Event().wait(0.3)
            assert 0 < reached < 16 * 1024 * 1024
            assert mount.websockets.open == 1
        until(lambda: not mount.websockets.open, 15)


def test_websockets_take_no_thread_of_the_requests_and_have_a_limit_of_their_own() -> None:
    seen = Seen()
    mount = LegacyMount(sock_app(seen), 1, websockets=30)
    with serving(mount, **OWN) as port:
        clients = [talk_to(port, "/echo") for _ in range(30)]
        for client in clients:
            client.send("here")
        assert {client.recv(timeout=10) for client in clients} == {"here"}
        assert talk(port, get("/page")).endswith(b"a page")
        assert mount.pool.stats().threads == 1
        assert not any(name.startswith("legacy-0") for name in seen.threads)
        with pytest.raises(InvalidStatus) as full:
            talk_to(port, "/echo")
        assert full.value.response.status_code == 503
        assert full.value.response.headers["Retry-After"] == "1"
        clients.pop().close()
        until(lambda: mount.websockets.open == 29)
        with talk_to(port, "/echo") as client:
            client.send("again")
            assert client.recv(timeout=10) == "again"
        for client in clients:
            client.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 7000:
        pytest.skip("the system does not let this process open 7,000 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 7000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_2000_idle_websockets_leave_the_threads_of_the_requests_alone_and_the_next_gets_503(many_files: None) -> None:
    app = sock_app()

    @app.get("/idle", websocket=True)
    def idle() -> str:
        accept(request.environ).recv(1)
        return ""

    mount = LegacyMount(app, 1)  # as many WebSockets as GRAFT_LEGACY_WEBSOCKETS has by default
    with serving(mount, **OWN) as port, ExitStack() as clients:
        for _ in range(2000):
            client = clients.enter_context(connect(port))
            client.settimeout(60)
            client.sendall(handshake("/idle"))
            assert b" 101 " in read_until(client, b"\r\n\r\n")
        assert mount.websockets.open == mount.websockets.limit == 2000
        assert talk(port, get("/page")).endswith(b"a page")
        assert mount.pool.stats().threads == 1
        assert b" 503 " in talk(port, handshake("/idle")).partition(b"\r\n")[0]
        clients.close()
        until(lambda: mount.websockets.open == 0, 60)


def test_switched_off_a_handshake_gets_403() -> None:
    with serving(LegacyMount(sock_app(), websockets=0), **OWN) as port, pytest.raises(InvalidStatus) as refused:
        talk_to(port, "/echo")
    assert refused.value.response.status_code == 403


def test_compression_is_between_the_app_and_its_client() -> None:
    with serving(LegacyMount(sock_app()), **OWN) as port, connect(port) as connection:
        connection.sendall(handshake("/echo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
        head = read_until(connection, b"\r\n\r\n").lower()
        assert b"sec-websocket-extensions: permessage-deflate; client_max_window_bits=15\r\n" in head
        assert b"x-served-by" not in head  # nothing but the app's own


def test_the_environ_is_that_of_a_request_with_the_socket_in_it() -> None:
    seen = Seen()
    with serving(LegacyMount(sock_app(seen)), **OWN) as port, talk_to(port, "/echo?who=me") as client:
        client.send("one")
        client.recv(timeout=10)
        address = client.socket.getsockname()
        assert seen.environ["werkzeug.socket"] is seen.environ["gunicorn.socket"]
        assert seen.environ["werkzeug.socket"].getpeername() == address
    assert seen.environ["REQUEST_METHOD"] == "GET"
    assert seen.environ["wsgi.url_scheme"] == "http"
    assert seen.environ["QUERY_STRING"] == "who=me"
    assert seen.environ["HTTP_UPGRADE"] == "websocket"
    assert seen.environ["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("server", SERVERS[:2])  # elsewhere the server pings
def test_a_silent_client_is_pinged_by_the_app_and_let_go(server: Any) -> None:
    mount = LegacyMount(sock_app(ping_interval=0.2))
    with serving(mount, **server) as port, connect(port) as connection:
        connection.sendall(handshake("/echo"))
        read_until(connection, b"\r\n\r\n")
        assert read_all(connection) == b"\x89\x00" + b"\x88\x13\x03\xf0Ping/Pong timeout"
        until(lambda: not mount.websockets.open)


@pytest.mark.parametrize("at_once", [False, True], ids=["after the answer", "behind the handshake"])
@pytest.mark.parametrize("server", SERVERS[:2])
def test_what_is_sent_to_a_client_that_has_closed_its_half_still_arrives(server: Any, at_once: bool) -> None:
    with serving(LegacyMount(raw_app), **server) as port, connect(port) as connection:
        if at_once:
            connection.sendall(handshake("/") + frame(b"one"))
        else:
            connection.sendall(handshake("/"))
            assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101")
            connection.sendall(frame(b"one"))
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).endswith(b"\x81\x03one\x88\x02\x03\xe8")


def test_a_view_that_does_not_answer_the_handshake_in_time_gets_504(caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    mount = LegacyMount(sock_app(seen), timeout=0.2)
    with serving(mount, **OWN) as port:
        with pytest.raises(InvalidStatus) as late:
            talk_to(port, "/slow")
        assert late.value.response.status_code == 504
        with talk_to(port, "/echo") as client:  # what was accepted in time has all the time
            threading.Event().wait(0.3)
            client.send("still here")
            assert client.recv(timeout=10) == "still here"
        seen.go_on.set()
        until(lambda: not mount.websockets.open)
    assert "WebSocket /slow (slow) gave no answer within 0.2 s; it is in " in caplog.text


@every_server
def test_a_server_that_leaves_closes_with_1012_and_the_app_hears_of_it(server: Any) -> None:
    seen = Seen()
    with serving(LegacyMount(sock_app(seen)), **server) as port:
        client = talk_to(port, "/echo")
        client.send("one")
        assert client.recv(timeout=10) == "one"
        codes: list[tuple[int, str]] = []
        waiting = threading.Thread(target=lambda: codes.append(closing_of(client)))
        waiting.start()
    waiting.join(10)
    assert [code for code, _ in codes] == [1012]
    assert [code for code, _ in seen.closed] == [1012]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_behind_tls_the_app_has_one_end_of_a_pair_and_all_else_is_the_same(loop: str, tmp_path: Path) -> None:
    seen = Seen()
    certificate, key = nginx.certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False
    server: Any = {"http": Connection, "loop": loop, "ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    mount = LegacyMount(sock_app(seen))
    with (
        serving(mount, **server) as port,
        open_websocket(f"wss://127.0.0.1:{port}/echo", ssl=trust, max_size=None, legacy=True) as client,
    ):
        large = bytes(range(256)) * 20_000
        client.send(large)
        assert client.recv(timeout=20) == large
        assert seen.environ["wsgi.url_scheme"] == "https"
        assert seen.environ["werkzeug.socket"].getpeername() == client.socket.getsockname()
        client.send("leave")
        assert closing_of(client) == (4001, "as you wish")
        until(lambda: not mount.websockets.open)


@pytest.mark.parametrize("server", SERVERS[:1])
def test_a_view_that_is_over_before_its_library_has_answered_the_close_frame_harms_nobody(server: Any) -> None:
    """simple-websocket wakes the view, and then answers."""
    received, is_over = threading.Event(), threading.Event()

    def answer_late(connection: socket.socket) -> None:
        assert connection.recv(100).startswith(b"\x88")
        received.set()
        is_over.wait(10)
        time.sleep(0.05)  # for the server, to end the connection if it were to
        connection.sendall(b"\x88\x02\x03\xf4")
        connection.close()

    class Body:
        def __iter__(self) -> Any:
            return iter([b""])

        def close(self) -> None:
            is_over.set()

    def app(environ: Any, start_response: Any) -> Any:
        accept(environ)
        threading.Thread(target=answer_late, args=(environ["werkzeug.socket"].dup(),)).start()
        received.wait(20)
        start_response("200 OK", [])
        return Body()

    with serving(LegacyMount(app), **server) as port:
        client = talk_to(port, "/")
        codes: list[tuple[int, str]] = []
        waiting = threading.Thread(target=lambda: codes.append(closing_of(client)))
        waiting.start()
    waiting.join(10)
    assert [code for code, _ in codes] == [1012]


def test_a_recursion_through_c_code_ends_in_an_error_of_the_view_and_not_of_the_process() -> None:
    """In a process of its own: what it is about is a segmentation fault."""
    program = """
import sys, threading
from graft.threads.connection_threads import ConnectionThreads
def recurse(x): return sorted([1], key=recurse)
ended = []
def run():
    try: recurse(1)
    except RecursionError: ended.append("RecursionError")
threads = ConnectionThreads(1, "websocket")
threads.start(run)
while threads.open: pass
print(*ended)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "RecursionError\n")


@pytest.mark.parametrize("key", ["SGVsbG8sIHdvcmxkIQ==", "test"])
def test_the_app_s_library_judges_the_key_of_a_handshake(key: str) -> None:
    with serving(LegacyMount(sock_app()), **OWN) as port, connect(port) as connection:
        connection.sendall(handshake("/echo").replace(KEY.encode(), key.encode()))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101")


def test_a_view_that_takes_the_descriptor_has_the_connection_to_itself() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        with socket.socket(fileno=environ["werkzeug.socket"].detach()) as taken:
            taken.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\nthe app's own")
        start_response("200 OK", [])
        return [b"goes nowhere"]

    with serving(LegacyMount(app), **OWN) as port, connect(port) as connection:
        connection.sendall(handshake("/"))
        assert read_all(connection) == b"HTTP/1.1 101 Switching Protocols\r\n\r\nthe app's own"


@pytest.mark.parametrize("closes", [True, False], ids=["closes its socket", "keeps its socket"])
@pytest.mark.parametrize("server", [SERVERS[1], SERVERS[3], SERVERS[4]])
def test_a_server_that_leaves_does_not_wait_for_ever_for_a_view_whose_client_has_gone(
    server: Any, closes: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As simple-websocket leaves one: at a message that is too big it may close its socket and wake nobody."""
    monkeypatch.setattr(websocket, "PATIENCE", 0.1)
    go_on, answered = threading.Event(), threading.Event()
    app = sock_app()

    @app.get("/stays", websocket=True)
    def stays() -> str:
        connection = accept(request.environ)
        if closes:
            connection.close()
        go_on.wait(60)
        return ""

    mount = LegacyMount(app)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        try:
            await mount(scope, receive, send)
        finally:
            answered.set()

    with serving(watched, **server) as port, connect(port) as client:
        client.sendall(handshake("/stays"))
        read_until(client, b"\r\n\r\n")
        if closes:
            client.recv(65536)  # its close frame where the server sends one, or its end
    until(answered.is_set, 30)
    assert "WebSocket /stays goes on" in caplog.text
    assert mount.websockets.open == 1
    go_on.set()
    until(lambda: mount.websockets.open == 0, 30)
    mount.close(10)
