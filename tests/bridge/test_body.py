"""``wsgi.input``: every method, every argument, and every way in which an upload may end."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flask import Flask
from flask import request as flask_request

from graft.bridge import body as body_module
from graft.bridge.body import Body, BodyTooLarge, ClientGone, ClientStalled
from graft.bridge.exchange import SMALL_BODY
from graft.bridge.mount import LegacyMount
from tests.bridge.test_answer import ask, mounted
from tests.bridge.wire import Conversation, request, until_true

TEXT = b"one\ntwo\n\nthree"


def now(callback: Callable[[], None]) -> None:
    callback()


def streamed(*chunks: bytes) -> io.BufferedReader:
    body = Body(now, 5)
    for chunk in chunks:
        body.feed(chunk)
    body.end()
    return body.buffered()


READS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda i: i.read(), TEXT),
    (lambda i: i.read(-1), TEXT),
    (lambda i: i.read(None), TEXT),
    (lambda i: i.read(5), b"one\nt"),
    (lambda i: i.read(0), b""),
    (lambda i: i.read(1000), TEXT),
    (lambda i: i.readline(), b"one\n"),
    (lambda i: i.readline(-1), b"one\n"),
    (lambda i: i.readline(None), b"one\n"),
    (lambda i: i.readline(10), b"one\n"),
    (lambda i: i.readline(2), b"on"),
    (lambda i: i.readline(0), b""),
    (lambda i: i.readlines(), [b"one\n", b"two\n", b"\n", b"three"]),
    (lambda i: i.readlines(-1), [b"one\n", b"two\n", b"\n", b"three"]),
    (lambda i: i.readlines(None), [b"one\n", b"two\n", b"\n", b"three"]),
    (lambda i: i.readlines(5), [b"one\n", b"two\n"]),
    (list, [b"one\n", b"two\n", b"\n", b"three"]),
    (lambda i: (i.read(), i.read(), i.readline(), i.readlines(), list(i)), (TEXT, b"", b"", [], [])),
    (lambda i: (i.read(4), i.readline(), i.read()), (b"one\n", b"two\n", b"\nthree")),
    (lambda i: i.readinto(bytearray(5)), 5),
]


@pytest.mark.parametrize(("read", "expected"), READS)
@pytest.mark.parametrize("chunks", [[TEXT], [TEXT[:2], TEXT[2:7], TEXT[7:]], [bytes([byte]) for byte in TEXT]])
def test_a_streamed_body_reads_like_a_file(read: Callable[[Any], Any], expected: Any, chunks: list[bytes]) -> None:
    assert read(streamed(*chunks)) == expected
    assert read(io.BytesIO(TEXT)) == expected


def test_an_empty_body_is_at_its_end() -> None:
    assert streamed().read() == streamed().read(10) == streamed().readline() == b""


def test_a_line_longer_than_any_buffer_is_one_line() -> None:
    line = b"x" * 300_000 + b"\n"
    assert streamed(line[:100_000], line[100_000:], b"next").readline() == line


def test_reading_on_after_an_error_finds_the_error_again() -> None:
    body = Body(now, 5)
    body.feed(b"abc")
    body.end(ClientGone())
    body.end()
    stream = body.buffered()
    assert stream.read1() == b"abc"
    for _ in range(2):
        with pytest.raises(ClientGone):
            stream.read1()


def test_a_client_that_sends_nothing_is_not_waited_for_for_ever() -> None:
    with pytest.raises(ClientStalled):
        Body(now, 0.01).buffered().read()


@pytest.mark.parametrize("error", [ClientGone, ClientStalled, BodyTooLarge])
def test_a_failed_upload_is_an_os_error_and_a_client_error_of_flask(error: type[Exception]) -> None:
    assert isinstance(error(), OSError)
    flask_app = Flask(__name__)

    @flask_app.get("/")
    def view() -> str:
        raise error

    assert 400 <= flask_app.test_client().get("/").status_code < 500


def upload_app() -> Flask:
    app = Flask(__name__)

    @app.post("/")
    def view() -> str:
        return str(len(flask_request.get_data()))

    @app.post("/lines")
    def lines() -> str:
        return ",".join(str(len(line)) for line in flask_request.stream)

    @app.post("/form")
    def form() -> str:
        return f"{flask_request.form['a']} {len(flask_request.files['f'].read())}"

    return app


POST = {"method": "POST"}
CHUNKED = {"method": "POST", "headers": [("Transfer-Encoding", "chunked")]}


def sized(size: int) -> dict[str, Any]:
    return {"method": "POST", "headers": [("Content-Length", str(size))]}


async def test_a_small_body_is_read_before_the_view() -> None:
    assert (await ask(upload_app(), request(b"abc", more=True), request(b"def"), **sized(6))).body == b"6"


async def test_a_chunked_body_arrives() -> None:
    messages = [request(b"abc", more=True), request(b"", more=True), request(b"def", more=True), request(b"")]
    assert (await ask(upload_app(), *messages, **CHUNKED)).body == b"6"


async def test_a_body_without_any_header_arrives_too() -> None:
    assert (await ask(upload_app(), request(b"abc"), method="POST", http_version="2")).body == b"3"


async def test_a_big_body_streams() -> None:
    count, part = 100, b"x" * 65536
    messages = [request(part, more=True) for _ in range(count)] + [request()]
    assert (await ask(upload_app(), *messages, **sized(count * 65536))).body == str(count * 65536).encode()


async def test_a_multipart_form_arrives_streamed() -> None:
    file = b"x" * 400_000
    body = (
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n'
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + file + b"\r\n--B--\r\n"
    )
    scope = sized(len(body))
    scope["headers"].append(("Content-Type", "multipart/form-data; boundary=B"))
    parts = [request(body[start : start + 50_000], more=True) for start in range(0, len(body), 50_000)]
    got = await ask(upload_app(), *parts, request(), path="/form", **scope)
    assert got.body == b"value 400000"


async def test_never_more_than_a_window_waits_for_a_view_that_reads_slowly() -> None:
    go_on = threading.Event()
    sizes: list[int] = []
    part = b"x" * 65536

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        go_on.wait(10)
        while data := environ["wsgi.input"].read(65536):
            sizes.append(len(data))
        start_response("200 OK", [])
        return [b"done"]

    count = 64
    async with mounted(app) as mount:
        conversation = Conversation(
            *[request(part, more=True) for _ in range(count)], request(), **sized(count * 65536)
        )
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(lambda: conversation.received * 65536 >= body_module.WINDOW)
        for _ in range(20):
            await asyncio.sleep(0)
        assert conversation.received * 65536 <= body_module.WINDOW + 65536
        go_on.set()
        await asking
        assert sum(sizes) == count * 65536


async def test_a_client_that_leaves_before_its_small_body_is_complete_costs_no_thread() -> None:
    async with mounted(upload_app()) as mount:
        conversation = Conversation(request(b"abc", more=True), **sized(6))
        conversation.leave()
        await conversation.ask(mount)
        assert conversation.sent == []
        assert mount.pool.stats().threads == 0


async def test_a_disconnect_in_the_middle_of_an_upload_is_an_error_not_the_end_of_the_file() -> None:
    seen: list[BaseException | bytes] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            seen.append(environ["wsgi.input"].read())
        except OSError as error:
            seen.append(error)
            raise
        return []

    async with mounted(app) as mount:
        conversation = Conversation(request(b"abc", more=True), **sized(SMALL_BODY + 1))
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(lambda: conversation.received == 2)
        conversation.leave()
        await asking
        await until_true(lambda: mount.pool.stats().busy == 0)
        assert conversation.sent == []
        assert isinstance(seen[0], ClientGone)


async def test_a_client_that_stops_in_the_middle_of_an_upload_gets_408_and_frees_its_thread() -> None:
    async with mounted(upload_app(), stall_timeout=0.05) as mount:
        conversation = Conversation(request(b"abc", more=True), **sized(SMALL_BODY + 1))
        assert (await conversation.ask(mount)).status == 408
        await until_true(lambda: mount.pool.stats().busy == 0)


async def test_a_receive_that_raises_frees_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    async def receive() -> Any:
        raise OSError("socket broke")

    async with mounted(upload_app()) as mount:
        conversation = Conversation(**sized(SMALL_BODY + 1))
        await mount(conversation.scope, receive, conversation.send)
        await until_true(lambda: mount.pool.stats().busy == 0)
        assert conversation.sent == []
    assert "could not be received" in caplog.text


async def test_reading_after_the_answer_was_sent_is_an_error() -> None:
    seen: list[BaseException] = []

    class Late:
        def __init__(self, environ: dict[str, Any]) -> None:
            self.environ = environ

        def __iter__(self) -> Any:
            return iter([b"early"])

        def close(self) -> None:
            try:
                self.environ["wsgi.input"].read()
            except OSError as error:
                seen.append(error)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        return Late(environ)

    async with mounted(app) as mount:
        conversation = Conversation(request(b"abc", more=True), **sized(SMALL_BODY + 1))
        conversation.leave()
        await conversation.ask(mount)
        await until_true(lambda: seen)
    assert isinstance(seen[0], ClientGone)


async def test_a_view_that_streams_and_leaves_its_upload_unread_still_notices_its_client_leaving() -> None:
    closed = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 1000
                closed.wait(0.001)
        finally:
            closed.set()

    part = request(b"x" * body_module.WINDOW, more=True)
    async with mounted(app, stall_timeout=0.05) as mount:
        conversation = Conversation(part, part, part, **sized(100 * body_module.WINDOW))
        conversation.leave()
        await conversation.ask(mount)
        await until_true(lambda: mount.pool.stats().busy == 0)
        assert closed.is_set()


async def test_a_view_that_reads_late_but_streams_nothing_yet_gets_its_whole_upload() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        threading.Event().wait(0.1)
        size = len(environ["wsgi.input"].read())
        start_response("200 OK", [])
        return [str(size).encode()]

    part = request(b"x" * body_module.WINDOW, more=True)
    async with mounted(app, stall_timeout=0.02) as mount:
        got = await Conversation(part, part, part, request(), **sized(3 * body_module.WINDOW)).ask(mount)
        assert got.body == str(3 * body_module.WINDOW).encode()


async def test_an_expectant_client_is_not_told_to_go_on_before_the_view_reads() -> None:
    seen: list[int] = []
    conversation: Conversation

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(conversation.received)
        data = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [data]

    conversation = Conversation(
        request(b"abc"), method="POST", headers=[("Content-Length", "3"), ("Expect", "100-continue")]
    )
    async with mounted(app) as mount:
        assert (await conversation.ask(mount)).body == b"abc"
    assert seen == [0]


async def test_an_expectant_client_that_is_refused_never_sends_its_body() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("401 Unauthorized", [])
        return [b"no"]

    conversation = Conversation(method="POST", headers=[("Content-Length", "3"), ("Expect", "100-continue")])
    async with mounted(app) as mount:
        assert (await conversation.ask(mount)).status == 401
    assert conversation.received == 0


async def test_a_stream_to_an_expectant_client_that_was_never_read_ends_when_it_leaves() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        while True:
            yield b"x"
            threading.Event().wait(0.001)

    conversation = Conversation(method="POST", headers=[("Content-Length", "3"), ("Expect", "100-continue")])
    async with mounted(app) as mount:
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(conversation.began.is_set)
        conversation.leave()
        await asking
        await until_true(lambda: mount.pool.stats().busy == 0)


async def test_a_body_that_is_declared_too_large_is_refused_before_it_is_read() -> None:
    async with mounted(upload_app(), max_body=10) as mount:
        conversation = await Conversation(**sized(11)).ask(mount)
        assert conversation.status == 413
        assert b'"code": "body_too_large"' in conversation.body
        assert conversation.received == 0
        assert mount.pool.stats().threads == 0
        assert (await Conversation(request(b"x" * 10), **sized(10)).ask(mount)).body == b"10"


async def test_a_chunked_body_that_grows_too_large_is_refused() -> None:
    async with mounted(upload_app(), max_body=10) as mount:
        assert (await Conversation(request(b"x" * 11, more=True), **CHUNKED).ask(mount)).status == 413
        messages = [request(b"x" * 6, more=True), request(b"x" * 6, more=True), request()]
        assert (await Conversation(*messages, **CHUNKED).ask(mount)).status == 413
        await until_true(lambda: mount.pool.stats().busy == 0)


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "\xb2"])
async def test_a_content_length_that_is_no_number_is_a_bad_request(length: str) -> None:
    async with mounted(upload_app()) as mount:
        assert (await Conversation(method="POST", headers=[("Content-Length", length)]).ask(mount)).status == 400


async def test_a_get_does_not_wait_for_a_body() -> None:
    app = Flask(__name__)
    app.get("/")(lambda: "hello")
    mount = LegacyMount(app)
    conversation = await Conversation().ask(mount)
    assert conversation.body == b"hello"
    assert conversation.received == 0
    assert await mount.aclose(10)
