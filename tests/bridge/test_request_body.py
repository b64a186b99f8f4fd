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

from graft.bridge import request_body
from graft.bridge.body_errors import (
    BodyIncomplete,
    BodyNotKept,
    BodyNotReceived,
    BodyTooLarge,
    ClientGone,
    ClientStalled,
)
from graft.bridge.body_store import BLOCK, IN_MEMORY
from graft.bridge.exchange import SMALL_BODY
from graft.bridge.mount import LegacyMount
from graft.bridge.request_body import KEPT_FOR_LATER, WINDOW, RequestBody
from graft.types import Message, Receive
from tests.bridge.test_wsgi_call import ask, mounted
from tests.bridge.wire import Conversation, request, until_true

TEXT = b"one\ntwo\n\nthree"


def sent(*messages: Message) -> Receive:
    """A server that sends these, and then waits for ever."""
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def body_of(*chunks: bytes, then: Message | None = None, **settings: Any) -> RequestBody:
    """A body that comes in these chunks, and to its end unless something else comes ``then``."""
    return RequestBody(sent(*[request(chunk, more=True) for chunk in chunks], then or request()), **settings)


async def received(*chunks: bytes, keep: bool) -> io.BufferedReader:
    body = body_of(*chunks, keep=keep)
    await (body.load() if keep else body.receive_ahead())
    return body.open()


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
@pytest.mark.parametrize("keep", [False, True])
async def test_a_body_reads_like_a_file(
    read: Callable[[Any], Any], expected: Any, chunks: list[bytes], keep: bool
) -> None:
    assert read(await received(*chunks, keep=keep)) == expected
    assert read(io.BytesIO(TEXT)) == expected


@pytest.mark.parametrize("keep", [False, True])
async def test_an_empty_body_is_at_its_end(keep: bool) -> None:
    for read in (lambda file: file.read(), lambda file: file.read(10), lambda file: file.readline()):
        assert read(await received(keep=keep)) == b""


async def test_a_line_longer_than_any_buffer_is_one_line() -> None:
    line = b"x" * 300_000 + b"\n"
    assert (await received(line[:100_000], line[100_000:], b"next", keep=True)).readline() == line


@pytest.mark.parametrize("keep", [False, True])
async def test_reading_on_after_an_error_finds_the_error_again(keep: bool) -> None:
    body = body_of(b"abc", then={"type": "http.disconnect"}, keep=keep)
    await body.receive_ahead()
    file = body.open()
    assert file.read1() == b"abc"
    for _ in range(2):
        with pytest.raises(ClientGone):
            file.read1()


async def test_a_client_that_sends_nothing_is_not_waited_for_for_ever() -> None:
    body = RequestBody(sent(request(b"abc", more=True)), keep=True, stall_timeout=0.01)

    def read() -> None:
        file = body.open()
        for _ in range(2):
            with pytest.raises(ClientStalled):
                file.read()

    await asyncio.to_thread(read)
    body.close()


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
        await until_true(lambda: conversation.received * 65536 >= WINDOW)
        for _ in range(20):
            await asyncio.sleep(0)
        assert conversation.received * 65536 <= WINDOW + 65536
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

    part = request(b"x" * WINDOW, more=True)
    async with mounted(app, stall_timeout=0.05) as mount:
        conversation = Conversation(part, part, part, **sized(100 * WINDOW))
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

    part = request(b"x" * WINDOW, more=True)
    async with mounted(app, stall_timeout=0.02) as mount:
        got = await Conversation(part, part, part, request(), **sized(3 * WINDOW)).ask(mount)
        assert got.body == str(3 * WINDOW).encode()


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


# One body for several readers: hooks and legacy.run in threads, the native route on the loop.


async def given(body: RequestBody) -> tuple[bytes, str]:
    """What the native route gets, and how it ends."""
    got = []
    while True:
        message = await asyncio.wait_for(body.receive(), 5)
        if message["type"] == "http.disconnect":
            return b"".join(got), "gone"
        got.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(got), "whole"


def content_of(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def in_segments(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize("size", [1, BLOCK, 300_000, IN_MEMORY * 2 + 7, 20_000_000])
@pytest.mark.parametrize("first", ["thread", "loop"])
async def test_every_reader_gets_the_whole_body_in_memory_or_on_disk(size: int, first: str) -> None:
    content = content_of(size)
    body = body_of(*in_segments(content, 65_536), keep=True, length=size)
    if first == "thread":
        assert await asyncio.to_thread(body.open().read) == content
    assert await given(body) == (content, "whole")
    assert await asyncio.to_thread(body.open().read) == content
    body.close()


@pytest.mark.parametrize("size", [1, 3, 100, 4096])
async def test_segments_of_any_size_and_readers_in_turns_give_the_same(size: int) -> None:
    content = content_of(10_000)
    body = body_of(*in_segments(content, size), keep=True)
    file = body.open()
    assert await asyncio.to_thread(file.read, 5) == content[:5]
    first = await body.receive()
    assert content.startswith(first["body"])
    assert await asyncio.to_thread(file.read, 3000) == content[5:3005]
    rest, end = await given(body)
    assert (first["body"] + rest, end) == (content, "whole")
    assert await asyncio.to_thread(file.read) == content[3005:]
    body.close()


async def test_readers_side_by_side_get_the_whole_body_each_while_it_comes() -> None:
    content = content_of(3_000_000)
    go_on = asyncio.Semaphore(0)
    waiting = [request(part, more=True) for part in in_segments(content, 50_000)]

    async def receive() -> Message:
        await go_on.acquire()
        return waiting.pop(0) if waiting else request()

    body = RequestBody(receive, keep=True)

    async def release() -> None:
        for _ in range(len(waiting) + 1):
            go_on.release()
            await asyncio.sleep(0)

    readers = [asyncio.to_thread(body.open().read) for _ in range(3)]
    *read, (by_loop, _), _ = await asyncio.gather(*readers, given(body), release())
    assert [*read, by_loop] == [content] * 4
    body.close()


async def test_a_client_that_leaves_is_an_error_in_a_thread_and_a_disconnect_for_the_route() -> None:
    body = body_of(b"half", then={"type": "http.disconnect"}, keep=True)
    with pytest.raises(ClientGone):
        await asyncio.to_thread(body.open().read)
    assert await given(body) == (b"half", "gone")
    assert await given(body) == (b"", "gone")
    body.close()


async def test_a_receive_that_raises_is_an_error_in_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    async def receive() -> Message:
        raise OSError("socket broke")

    body = RequestBody(receive, keep=True, stall_timeout=5)
    with pytest.raises(ClientGone):
        await asyncio.to_thread(body.open().read)
    assert "could not be received" in caplog.text


async def test_loading_stops_where_it_was_told_to_and_keeps_an_empty_body_whole() -> None:
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return request(b"x" * 10_000, more=True)

    body = RequestBody(receive, keep=True)
    await body.load(65_536)
    assert asked == 7
    body.close()
    empty = RequestBody(sent(request()), keep=True)
    await empty.load(65_536)
    assert await given(empty) == (b"", "whole")
    empty.close()


async def test_the_thread_of_the_loop_can_read_what_is_there_and_is_never_blocked_by_the_rest() -> None:
    body = RequestBody(sent(request(b"there", more=True)), keep=True, stall_timeout=5)
    await body.load(5)
    file = body.open()
    assert file.read(5) == b"there"
    with pytest.raises(BodyNotReceived, match="the loop itself has to receive it"):
        file.read()
    body.close()


@pytest.mark.parametrize("read_before", [0, 700_000])
async def test_a_body_that_streams_can_be_awaited_on_the_loop_and_then_be_read_there(read_before: int) -> None:
    content = content_of(3_000_000)
    body = body_of(*in_segments(content, 65_536))
    ahead = asyncio.create_task(body.receive_ahead())
    file = body.open()
    assert await asyncio.to_thread(file.read, read_before) == content[:read_before]
    await body.load()
    await ahead
    assert file.read() == content[read_before:]
    body.close()


async def test_an_upload_that_only_the_native_route_reads_is_kept_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert KEPT_FOR_LATER >= 20_000_000
    monkeypatch.setattr(request_body, "KEPT_FOR_LATER", 2_000_000)
    content = content_of(3_000_000)
    body = body_of(*in_segments(content, 65_536), keep=True)
    assert await given(body) == (content, "whole")

    def read() -> bytes:
        file = body.open()
        begin = file.read(1_000_000)
        with pytest.raises(BodyNotKept, match="only the first 1966080 bytes are kept"):
            file.read()
        return begin

    assert await asyncio.to_thread(read) == content[:1_000_000]
    body.close()


async def test_what_a_thread_reads_is_kept_for_the_route_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "KEPT_FOR_LATER", 2_000_000)
    content = content_of(3_000_000)
    body = body_of(*in_segments(content, 65_536), keep=True)
    assert await asyncio.to_thread(body.open().read) == content
    assert await given(body) == (content, "whole")
    body.close()


@pytest.mark.parametrize("keep", [False, True])
async def test_what_is_beyond_the_declared_length_is_cut_off(keep: bool) -> None:
    body = body_of(b"abc", b"def", b"ghi", keep=keep, length=5)
    await body.receive_ahead()
    assert body.open().read() == b"abcde"


@pytest.mark.parametrize("keep", [False, True])
async def test_a_body_shorter_than_its_declared_length_is_an_error_and_not_the_end(keep: bool) -> None:
    body = body_of(b"abc", keep=keep, length=5)
    await body.receive_ahead()
    with pytest.raises(BodyIncomplete):
        body.open().read()
    if keep:
        with pytest.raises(BodyIncomplete):
            await given(body)


async def test_a_body_above_its_limit_is_an_error_for_every_reader() -> None:
    body = body_of(b"x" * 6, b"x" * 6, keep=True, limit=10)
    with pytest.raises(BodyTooLarge):
        await asyncio.to_thread(body.open().read)
    with pytest.raises(BodyTooLarge):
        await given(body)


async def test_a_thread_that_waits_when_the_request_ends_is_let_go() -> None:
    body = RequestBody(sent(request(b"abc", more=True)), keep=True)
    reading = asyncio.create_task(asyncio.to_thread(body.open().read))
    await until_true(lambda: body.size == 3 and body._waiting)
    body.close()
    with pytest.raises(ClientGone):
        await asyncio.wait_for(reading, 5)


async def test_a_file_that_was_given_up_is_no_end_of_the_body() -> None:
    content = content_of(IN_MEMORY + 100_000)
    body = body_of(*in_segments(content, 65_536), keep=True)
    await body.load()
    body.close()
    with pytest.raises(ClientGone):
        body.open().read()
