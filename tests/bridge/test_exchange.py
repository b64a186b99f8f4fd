"""All the ways in which a request may end early, and what the client and the threads see of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response
from flask import request as flask_request

from graft.bridge import exchange
from graft.bridge.exchange import SMALL_BODY, BrokenAnswer
from graft.bridge.mount import LegacyMount
from graft.settings import LegacyLoop
from tests.bridge.test_wsgi_call import mounted
from tests.bridge.wire import (
    Conversation,
    SlowUpload,
    connect,
    get,
    post,
    read_until,
    request,
    serving,
    talk,
    until,
    until_true,
)


class Endless:
    """A stream without end that counts how often it was begun and closed."""

    def __init__(self, pause: float = 0.0, size: int = 1000) -> None:
        self.begun = 0
        self.closed = 0
        self.torn_down = 0
        self._pause = pause
        self._size = size
        self._lock = threading.Lock()

    def app(self) -> Flask:
        app = Flask(__name__)

        @app.get("/")
        def view() -> Response:
            with self._lock:
                self.begun += 1
            response = Response(self.chunks())
            response.call_on_close(self._count_close)
            return response

        @app.get("/quick")
        def quick() -> str:
            return "quick"

        @app.teardown_request
        def teardown(error: BaseException | None) -> None:
            with self._lock:
                self.torn_down += 1

        return app

    def chunks(self) -> Iterator[bytes]:
        while True:
            yield b"x" * self._size
            if self._pause:
                time.sleep(self._pause)

    def _count_close(self) -> None:
        with self._lock:
            self.closed += 1


async def all_free(mount: LegacyMount) -> None:
    await until_true(lambda: (mount.pool.stats().busy, mount.pool.stats().waiting) == (0, 0))


async def test_a_cancelled_stream_gives_its_thread_back_and_is_closed_once() -> None:
    endless = Endless()
    async with mounted(endless.app(), workers=1) as mount:
        conversation = Conversation()
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(conversation.began.is_set)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await all_free(mount)
        assert (endless.begun, endless.closed, endless.torn_down) == (1, 1, 1)


async def test_a_stream_that_waits_for_its_client_when_it_is_cancelled_gives_its_thread_back() -> None:
    endless = Endless(size=100_000)
    async with mounted(endless.app(), workers=1) as mount:
        stuck = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                stuck.set()
                await asyncio.Event().wait()

        conversation = Conversation()
        asking = asyncio.create_task(mount(conversation.scope, conversation.receive, send))
        await stuck.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await all_free(mount)
        assert endless.closed == 1


async def test_a_thousand_abandoned_streams_leave_every_thread_free() -> None:
    endless = Endless()
    async with mounted(endless.app(), workers=4, queue=64) as mount:
        for start in range(0, 1000, 50):
            conversations = [Conversation() for _ in range(50)]
            asking = [asyncio.create_task(conversation.ask(mount)) for conversation in conversations]
            await until_true(lambda c=conversations: sum(each.began.is_set() for each in c) >= 4)
            for number, (task, conversation) in enumerate(zip(asking, conversations, strict=True)):
                if number % 2:
                    task.cancel()
                else:
                    conversation.leave()
            await asyncio.gather(*asking, return_exceptions=True)
            assert start < 1000
        await all_free(mount)
        assert endless.begun == endless.closed == endless.torn_down
        assert (await Conversation(path="/quick").ask(mount)).body == b"quick"


async def test_a_client_that_leaves_a_slow_stream_is_noticed_at_its_next_chunk() -> None:
    endless = Endless(pause=0.01)
    async with mounted(endless.app(), workers=1) as mount:
        conversation = Conversation()
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(conversation.began.is_set)
        conversation.leave()
        await asking
        await all_free(mount)
        assert endless.closed == 1


async def test_a_server_that_never_tells_of_a_disconnect_is_not_asked_for_ever() -> None:
    async def receive() -> dict[str, Any]:
        return request()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return iter([b"a", b"stream"])

    async with mounted(app) as mount:
        for method in ("GET", "POST"):
            conversation = Conversation(method=method)
            await mount(conversation.scope, receive, conversation.send)
            assert conversation.body == b"astream"


async def test_a_send_that_raises_closes_the_stream_once_and_frees_its_thread() -> None:
    endless = Endless()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError("gone")

    async with mounted(endless.app(), workers=1) as mount:
        conversation = Conversation()
        with pytest.raises(ConnectionResetError):
            await mount(conversation.scope, conversation.receive, send)
        await all_free(mount)
        assert (endless.closed, endless.torn_down) == (1, 1)


async def test_a_send_that_raises_on_a_small_answer_closes_it_once() -> None:
    closed: list[int] = []
    app = Flask(__name__)

    @app.get("/")
    def view() -> Response:
        response = Response("small")
        response.call_on_close(lambda: closed.append(1))
        return response

    async def send(message: dict[str, Any]) -> None:
        raise ConnectionResetError("gone")

    async with mounted(app, workers=1) as mount:
        conversation = Conversation()
        with pytest.raises(ConnectionResetError):
            await mount(conversation.scope, conversation.receive, send)
        await all_free(mount)
        await until_true(lambda: closed)
        assert closed == [1]


async def test_a_request_that_is_cancelled_while_it_waits_never_reaches_the_app() -> None:
    gate = threading.Event()
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ["PATH_INFO"])
        gate.wait(10)
        start_response("200 OK", [])
        return [b"done"]

    async with mounted(app, workers=1) as mount:
        running = asyncio.create_task(Conversation(path="/running").ask(mount))
        await until_true(lambda: mount.pool.stats().busy == 1)
        waiting = asyncio.create_task(Conversation(path="/waiting").ask(mount))
        await until_true(lambda: mount.pool.stats().waiting == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        assert (await running).body == b"done"
        assert seen == ["/running"]


async def test_a_view_that_reads_its_upload_when_the_request_is_cancelled_gives_its_thread_back() -> None:
    app = Flask(__name__)
    app.post("/")(lambda: str(len(__import__("flask").request.get_data())))
    async with mounted(app, workers=1) as mount:
        conversation = Conversation(
            request(b"part", more=True), method="POST", headers=[("Content-Length", str(SMALL_BODY + 1))]
        )
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(lambda: mount.pool.stats().busy == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await all_free(mount)


async def test_a_client_that_stops_reading_holds_a_thread_for_no_longer_than_the_stall_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endless = Endless(size=100_000)

    async def send(message: dict[str, Any]) -> None:
        if message.get("body"):
            await asyncio.Event().wait()

    async with mounted(endless.app(), workers=1, stall_timeout=0.05) as mount:
        conversation = Conversation()
        with pytest.raises(BrokenAnswer, match="the client stopped reading"):
            await mount(conversation.scope, conversation.receive, send)
        await all_free(mount)
        assert endless.closed == 1
    assert "has read nothing for 0.05 s" in caplog.text


async def test_an_app_that_fails_when_its_client_has_left_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"first"
        go_on.wait(10)
        raise ValueError

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return chunks()

    async with mounted(app, workers=1) as mount:
        conversation = Conversation()
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(conversation.began.is_set)
        conversation.leave()
        await asking
        go_on.set()
        await all_free(mount)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def holding(gate: threading.Event) -> Flask:
    app = Flask(__name__)

    @app.get("/held")
    def held() -> str:
        gate.wait(10)
        return "held"

    @app.post("/upload")
    def upload() -> str:
        return "uploaded"

    return app


async def test_when_threads_and_queue_are_full_the_answer_is_503_at_once() -> None:
    gate = threading.Event()
    async with mounted(holding(gate), workers=1, queue=1) as mount:
        asking = [asyncio.create_task(Conversation(path="/held").ask(mount)) for _ in range(2)]
        await until_true(lambda: (mount.pool.stats().busy, mount.pool.stats().waiting) == (1, 1))
        body = {"method": "POST", "headers": [("Content-Length", "5")], "state": {"request_id": "id-1"}}
        shed = await Conversation(path="/upload", **body).ask(mount)
        assert shed.status == 503
        assert shed.headers["retry-after"] == "1"
        assert json.loads(shed.body) == {
            "error": {
                "code": "legacy_full",
                "message": "All workers are busy. Try again in a moment.",
                "request_id": "id-1",
            }
        }
        assert shed.received == 0
        assert mount.pool.stats().shed == 1
        gate.set()
        assert [each.body for each in await asyncio.gather(*asking)] == [b"held"] * 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_leaves_while_it_waits_for_a_thread_leaves_the_queue(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "WATCH_AFTER", 0.01)
    gate = threading.Event()
    app = holding(gate)
    ran: list[str] = []
    app.add_url_rule("/", "note", lambda: ran.append(flask_request.method) or "noted", methods=["GET", "POST"])
    async with mounted(app, workers=1, queue=5) as mount:
        held = asyncio.create_task(Conversation(path="/held").ask(mount))
        await until_true(lambda: mount.pool.stats().busy == 1)
        leaving = Conversation(request(), method=method)
        staying = Conversation(request(), method=method)
        asking = [asyncio.create_task(each.ask(mount)) for each in (leaving, staying)]
        await until_true(lambda: mount.pool.stats().waiting == 2)
        leaving.leave()
        await asking[0]
        assert mount.pool.stats().waiting == 1
        assert not leaving.sent
        gate.set()
        await asyncio.gather(held, asking[1])
        assert staying.body == b"noted"
    assert ran == [method]


async def test_a_pool_that_fills_while_the_body_is_read_is_503_too() -> None:
    gate = threading.Event()
    async with mounted(holding(gate), workers=1, queue=0) as mount:
        upload = Conversation(path="/upload", method="POST", headers=[("Content-Length", "3")])
        late = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await late.wait()
            return request(b"abc")

        uploading = asyncio.create_task(mount(upload.scope, receive, upload.send))
        await asyncio.sleep(0)
        held = asyncio.create_task(Conversation(path="/held").ask(mount))
        await until_true(lambda: mount.pool.stats().busy == 1)
        late.set()
        await uploading
        assert upload.status == 503
        gate.set()
        await held


async def test_a_browser_gets_a_page() -> None:
    async with mounted(holding(threading.Event()), max_body=1) as mount:
        accept = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        scope = {"method": "POST", "headers": [("Content-Length", "5"), accept], "state": {"request_id": "<id>"}}
        page = await Conversation(**scope).ask(mount)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b"<h1>413</h1>" in page.body
        assert b"&lt;id&gt;" in page.body
        plain = {"method": "POST", "headers": [("Content-Length", "5"), ("Accept", "text/html;q=0.1, */*")]}
        assert b"error" in (await Conversation(**plain).ask(mount)).body
        without_id = {"method": "POST", "headers": [("Content-Length", "5"), ("Accept", "text/html")]}
        assert b"Request" not in (await Conversation(**without_id).ask(mount)).body


async def test_a_refusal_of_head_has_no_body() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise ValueError

    async with mounted(app) as mount:
        got = await Conversation(method="HEAD").ask(mount)
        assert (got.status, got.body) == (500, b"")
        assert int(got.headers["content-length"]) > 0


async def test_a_view_that_takes_too_long_is_504_and_its_thread_stuck_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = threading.Event()
    async with mounted(holding(gate), workers=1, timeout=0.05) as mount:
        got = await Conversation(path="/held").ask(mount)
        assert got.status == 504
        assert b'"code": "legacy_timeout"' in got.body
        assert (mount.pool.stats().stuck, mount.pool.stats().busy) == (1, 1)
        assert "GET /held (held) gave no answer within 0.05 s; it is in " in caplog.text
        waiting = await Conversation(path="/held").ask(mount)
        assert waiting.status == 504
        assert "found no free thread within 0.05 s" in caplog.text
        assert mount.pool.stats().waiting == 0
        gate.set()
        await until_true(lambda: mount.pool.stats().stuck == 0)
        await all_free(mount)
        assert (await Conversation(path="/held").ask(mount)).body == b"held"
    assert "is back from a request that was given up" in caplog.text


def reading(gate: threading.Event | None = None) -> Any:
    """An app that reads its upload, and then hangs until ``gate`` is open."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        size = len(environ["wsgi.input"].read())
        if gate is not None:
            gate.wait(20)
        start_response("200 OK", [])
        return [b"%d" % size]

    return app


async def upload(app: Any, parts: int, size: int, pause: float, timeout: float) -> Conversation:
    async with mounted(app, timeout=timeout, stall_timeout=None) as mount:
        return await SlowUpload(parts, size, pause).ask(mount)


async def test_the_time_of_an_upload_is_not_the_views() -> None:
    got = await upload(reading(), parts=12, size=64 * 1024, pause=0.1, timeout=0.5)  # a phone: 640 KB a second
    assert (got.status, got.body) == (200, b"%d" % (12 * 64 * 1024))


async def test_a_view_that_hangs_after_an_upload_has_its_timeout_and_no_more() -> None:
    gate = threading.Event()
    asyncio.get_running_loop().call_later(3, gate.set)
    got = await upload(reading(gate), parts=40, size=1024 * 1024, pause=0, timeout=0.3)  # 40 MB would allow 2560 s
    assert got.status == 504


async def test_a_client_that_trickles_does_not_hold_a_thread_for_longer() -> None:
    got = await upload(reading(), parts=3000, size=100, pause=0.02, timeout=0.3)  # 5 KB a second
    assert got.status == 504


async def test_a_stream_that_has_begun_may_take_longer_than_the_timeout() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first "
        time.sleep(0.1)
        yield b"last"

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return chunks()

    async with mounted(app, timeout=0.05) as mount:
        assert (await Conversation().ask(mount)).body == b"first last"


def test_abandoned_downloads_over_a_socket_leave_every_thread_free() -> None:
    endless = Endless(size=10_000)
    mount = LegacyMount(endless.app(), 4)
    with serving(mount) as port:
        for _ in range(10):
            connections = [connect(port) for _ in range(4)]
            for connection in connections:
                connection.sendall(get("/"))
            for connection in connections:
                read_until(connection, b"xxx")
                connection.close()
        assert talk(port, get("/quick")).endswith(b"quick")
        until(lambda: mount.pool.stats().busy == 0)
    assert endless.begun == endless.closed == 40


def test_a_client_that_stops_reading_over_a_socket_frees_its_thread() -> None:
    endless = Endless(size=100_000)
    mount = LegacyMount(endless.app(), 1, stall_timeout=0.2)
    with serving(mount) as port, connect(port) as connection:
        connection.sendall(get("/"))
        read_until(connection, b"xxx")
        until(lambda: endless.closed == 1)
        assert talk(port, get("/quick")).endswith(b"quick")


def test_an_upload_that_breaks_off_over_a_socket_frees_its_thread() -> None:
    app = Flask(__name__)
    app.post("/")(lambda: str(len(__import__("flask").request.get_data())))
    mount = LegacyMount(app, 1)
    with serving(mount) as port:
        with connect(port) as connection:
            connection.sendall(post("/", b"x" * 1_000_000)[:500_000])
            until(lambda: mount.pool.stats().busy == 1)
        until(lambda: mount.pool.stats().busy == 0)
        assert talk(port, post("/", b"x" * 1_000_000)).endswith(b"1000000")


@pytest.mark.parametrize("loop", list(LegacyLoop))
async def test_an_async_view_that_reads_what_has_not_arrived_waits_and_holds_nobody(loop: LegacyLoop) -> None:
    app = Flask(__name__)
    begun = threading.Event()

    @app.post("/")
    async def view() -> str:
        begun.set()
        return str(len(flask_request.get_data()))

    async with mounted(app, workers=2, stall_timeout=30, loop=loop) as mount:
        paused = Conversation(
            request(b"x" * 100_000, more=True), method="POST", headers=[("Content-Length", "3000000")]
        )
        asking = asyncio.create_task(paused.ask(mount))
        if loop is not LegacyLoop.SERVER:  # there the body is received before the coroutine begins
            await until_true(begun.is_set)
        for _ in range(3):
            small = Conversation(request(b"abc"), method="POST", headers=[("Content-Length", "3")])
            assert (await asyncio.wait_for(small.ask(mount), 5)).body == b"3"
        assert not asking.done()
        paused.leave()
        await asyncio.wait_for(asking, 5)
        assert paused.sent == []
        await until_true(lambda: mount.pool.stats().busy == 0)


async def test_a_body_that_is_awaited_before_is_there_for_code_on_the_loop() -> None:
    size = 3_000_000
    seen: list[int] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["graft.request_body"]

        async def read() -> bytes:
            await body.load()
            data: bytes = environ["wsgi.input"].read()
            return data

        seen.append(len(asyncio.run_coroutine_threadsafe(read(), loop).result(5)))
        start_response("200 OK", [])
        return [b"read"]

    loop = asyncio.get_running_loop()
    parts = [request(b"x" * 60_000, more=True) for _ in range(size // 60_000)]
    async with mounted(app) as mount:
        upload = Conversation(*parts, request(), method="POST", headers=[("Content-Length", str(size))])
        assert (await asyncio.wait_for(upload.ask(mount), 5)).body == b"read"
    assert seen == [size]
