"""Whoever keeps a connection waiting is ended, and nobody else; what a connection holds is bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graft.connection import limits
from graft.connection.protocol import Connection
from tests.connection.test_same_answers import chunked, get, post
from tests.connection.wire import Wire, answers, converse, everything, served, turn


async def until(condition: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def statuses(wire: Wire) -> list[int]:
    return [status for status, _, _ in answers(wire.written)]


class Holding:
    """An app that holds its requests: what it received, and whether its client left."""

    def __init__(self) -> None:
        self.begun = 0
        self.received: list[Any] = []
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        if scope["path"] == "/read":
            while True:
                self.received.append(await receive())
                if self.received[-1]["type"] == "http.disconnect" or not self.received[-1]["more_body"]:
                    break
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


# -- Slow clients ------------------------------------------------------------------------------------------------------


async def test_a_head_that_does_not_come_to_its_end_gets_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_PATIENCE", 0.1)
    _, wire = served(Connection, everything)
    for byte in b"GET / HTTP/1.1\r\nHost: x":  # a byte now and then moves nothing
        if wire.written:
            break
        wire.arrive(bytes([byte]))
        await asyncio.sleep(0.01)
    await until(lambda: wire.written)
    assert statuses(wire) == [408]
    assert wire.ended


async def test_a_head_in_time_is_answered_and_the_next_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_PATIENCE", 0.3)
    _, wire = served(Connection, everything)
    for _ in range(3):
        wire.arrive(get("/")[:10])
        await asyncio.sleep(0.15)
        wire.arrive(get("/")[10:])
        await turn()
    assert statuses(wire) == [200] * 3


async def test_line_breaks_without_a_request_are_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_PATIENCE", 0.05)
    _, wire = served(Connection, everything)
    wire.arrive(b"\r\n")
    await until(lambda: wire.lost)
    assert wire.written == b""  # a client could take it for the answer to what it sends next


async def test_a_body_that_trickles_is_ended_and_the_app_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_PATIENCE", 0.1)
    app = Holding()
    _, wire = served(Connection, app)
    wire.arrive(post("/read", b"")[:-2].replace(b"Length: 0", b"Length: 100000") + b"\r\n")
    for _ in range(50):
        if wire.written:
            break
        wire.arrive(b"x")
        await asyncio.sleep(0.01)
    await until(lambda: wire.written)
    assert statuses(wire) == [408]
    await turn()
    assert app.received[-1]["type"] == "http.disconnect"


async def test_a_body_that_waits_for_the_app_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_PATIENCE", 0.05)
    app = Holding()
    _, wire = served(Connection, app)
    wire.arrive(post("/held", b"x" * 1_000_000)[:200_000])
    await turn()
    assert wire.paused
    await asyncio.sleep(0.3)
    assert not wire.written
    app.go.set()
    await until(lambda: wire.written)
    assert statuses(wire) == [200]


async def test_a_reader_that_stops_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_PATIENCE", 0.05)
    _, wire = served(Connection, everything, reads=False)
    wire.arrive(get("/big/3000000"))
    await until(lambda: wire.lost)
    assert wire.aborted


async def test_a_reader_that_stops_is_cut_off_after_the_end_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """close() would wait for what is written to be read, which is to say for ever."""
    monkeypatch.setattr(limits, "WRITE_PATIENCE", 0.05)
    _, wire = served(Connection, everything, reads=False)
    wire.arrive(get("/big/30000", "Connection: close"))
    await turn()
    assert wire.closing
    assert not wire.lost
    await until(lambda: wire.lost)
    assert wire.aborted


async def test_a_slow_reader_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_PATIENCE", 0.2)
    _, wire = served(Connection, everything, reads=False)
    wire.arrive(get("/big/20000000"))
    for _ in range(60):
        await asyncio.sleep(0.01)
        assert wire.unread <= 2_000_000  # of 20 MB; the rest waits in the app
        wire.read_on()
    assert len(wire.written) > 20_000_000
    assert not wire.closing


async def test_who_does_not_read_gets_no_further_answers() -> None:
    app_calls = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        app_calls.append(scope["path"])
        await everything(scope, receive, send)

    _, wire = served(Connection, app, reads=False)
    for _ in range(200):
        wire.arrive(get("/big/30000"))
        await turn()
    assert len(app_calls) < 10
    assert wire.paused


# -- Limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1000, 300_000])
@pytest.mark.parametrize(
    "head",
    [
        get("/", "X: " + "a" * 100_000),
        get("/", "a" * 100_000 + ": x"),
        get("/", *["X: y"] * 20_000),
        get("/" + "a" * 100_000),
    ],
    ids=["value", "name", "count", "path"],
)
async def test_a_head_above_64_kb_gets_431(head: bytes, cut: int) -> None:
    wire = await converse(Connection, everything, [head[at : at + cut] for at in range(0, len(head), cut)] + [get("/")])
    assert statuses(wire) == [431]


async def test_more_than_two_hundred_headers_get_431() -> None:
    """They would all be the app's to carry: 3,000 of a letter are far below 64 KB. ``get`` has a Host of its own."""
    few, many = get("/", *[f"X-{number}: y" for number in range(199)]), get("/", *["X: y"] * 200)
    assert statuses(await converse(Connection, everything, [few])) == [200]
    assert statuses(await converse(Connection, everything, [many, get("/")])) == [431]


async def test_a_head_of_30_kb_is_answered() -> None:
    wire = await converse(Connection, everything, [get("/", "Cookie: " + "a" * 30_000)])
    assert statuses(wire) == [200]


@pytest.mark.parametrize("between", [b"1;" + b"a" * 200_000, b"0\r\nX: " + b"a" * 200_000])
async def test_what_stands_between_chunks_has_a_limit(between: bytes) -> None:
    head = get("/echo", "Transfer-Encoding: chunked", method="POST")
    stream = head + b"3\r\nabc\r\n" + between
    wire = await converse(Connection, everything, [stream[at : at + 9000] for at in range(0, len(stream), 9000)])
    assert statuses(wire) == [400]


async def test_trailers_do_not_become_headers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        names = b",".join(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": names})

    wire = await converse(Connection, app, [chunked("/", b"abc", trailers=b"X-Forwarded-For: 1.2.3.4\r\n")])
    assert answers(wire.written)[0][2] == b"host,transfer-encoding"


async def test_many_requests_in_one_segment_wait_their_turn() -> None:
    app = Holding()
    _, wire = served(Connection, app)
    wire.arrive(get("/") * 50)
    await turn()
    assert app.begun == 1
    assert wire.paused
    app.go.set()
    await until(lambda: len(statuses(wire)) == 50)
    assert not wire.paused


async def test_above_the_limit_of_connections_the_answer_is_503() -> None:
    wire = await converse(Connection, everything, [get("/")], limit_concurrency=1)
    assert statuses(wire) == [503]
    assert wire.closing


async def test_the_rest_of_a_body_that_nobody_wants_is_not_read_for_ever() -> None:
    _, wire = served(Connection, everything)
    wire.arrive(post("/unread", b"")[:-2].replace(b"Length: 0", b"Length: 900000000") + b"\r\n")
    await turn()
    assert statuses(wire) == [200]
    for _ in range(400):
        wire.arrive(b"x" * 65536)
        await asyncio.sleep(0)
        if wire.ended or wire.closing:
            break
    assert wire.ended


async def test_a_body_that_breaks_after_its_answer_gets_no_second_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = get("/unread", "Transfer-Encoding: chunked", method="POST")
    wire = await converse(Connection, everything, [head, b"zz\r\n" + get("/")])
    assert statuses(wire) == [200]
    assert wire.ended
    monkeypatch.setattr(limits, "BODY_PATIENCE", 0.05)
    _, wire = served(Connection, everything)
    wire.arrive(head + b"5\r\n")
    await until(lambda: wire.ended)
    assert statuses(wire) == [200]


# -- Ends --------------------------------------------------------------------------------------------------------------


async def test_a_client_that_closes_its_half_gets_its_answer() -> None:
    app = Holding()
    _, wire = served(Connection, app)
    wire.arrive(get("/"))
    wire.half_close()
    await turn()
    assert not wire.closing
    app.go.set()
    await until(lambda: wire.lost)
    assert statuses(wire) == [200]


async def test_a_client_that_left_is_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HALF_CLOSED", 0.05)
    app = Holding()
    _, wire = served(Connection, app)
    wire.arrive(get("/read"))
    await turn()
    wire.half_close()
    await until(lambda: wire.lost)
    assert wire.written == b""


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_gone_at_once() -> None:
    app = Holding()
    _, wire = served(Connection, app)
    wire.arrive(post("/read", b"x" * 100)[:-50])
    await turn()
    wire.half_close()
    await turn()
    assert wire.lost
    assert app.received[-1]["type"] == "http.disconnect"


async def test_an_answer_of_http_1_0_has_no_chunks_and_ends_with_the_connection() -> None:
    wire = await converse(Connection, everything, [get("/chunks", "Connection: keep-alive", version="1.0")])
    ((status, headers, body),) = answers(wire.written)
    assert (status, body) == (200, b"onetwo")
    assert b"transfer-encoding" not in dict(headers)
    assert wire.closing


async def test_an_answer_without_a_frame_that_breaks_off_is_reset() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("half-way")

    wire = await converse(Connection, app, [get("/", version="1.0")])
    assert wire.aborted


async def test_after_an_answer_that_came_before_100_continue_the_connection_ends() -> None:
    """Whether the client still sends the body it announced is unknown: what comes next could be either."""
    head = post("/unread", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 40")
    wire = await converse(Connection, everything, [head, get("/")])
    assert statuses(wire) == [200]
    assert b"connection: close" in wire.written
    assert wire.ended


# -- Heads -------------------------------------------------------------------------------------------------------------


async def responding(headers: list[tuple[bytes, bytes]], request: bytes = get("/"), **start: Any) -> Wire:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers, **start})
        await send({"type": "http.response.body", "body": b"ok"})

    return await converse(Connection, app, [request])


async def test_server_and_date_of_the_app_are_not_doubled() -> None:
    wire = await responding([(b"Server", b"mine"), (b"content-length", b"2")])
    assert wire.written.count(b"server: ") == 1
    assert b"server: mine\r\n" in wire.written
    wire = await responding([(b"Date", b"today"), (b"content-length", b"2")])
    assert wire.written.count(b"date: ") == 1
    assert b"server: uvicorn\r\n" in wire.written


async def test_a_reason_phrase_of_the_apps_own_is_told() -> None:
    wire = await responding([(b"content-length", b"2")], status=299, reason=b"As You Like It")
    assert wire.written.startswith(b"HTTP/1.1 299 As You Like It\r\n")


@pytest.mark.parametrize(
    "header",
    [(b"x", b"a\r\nset-cookie: b=c"), (b"x", b"\x00"), (b"x y", b"z"), (b"", b"z"), (b"x:", b"z"), (b"x\n", b"z"),
     (b"content-length", b"-2"), (b"content-length", b"2, 2")],
)  # fmt: skip
async def test_what_is_no_header_is_not_written(header: tuple[bytes, bytes]) -> None:
    wire = await responding([header])
    assert statuses(wire) == [500]
    assert b"set-cookie" not in wire.written


async def test_a_body_that_is_not_as_long_as_it_said_is_noticed() -> None:
    for length in (b"1", b"3"):
        wire = await responding([(b"content-length", length)])
        assert not wire.written.endswith(b"ok")
        assert wire.closing


async def test_204_has_no_frame_whatever_the_app_says() -> None:
    wire = await responding([(b"content-length", b"2"), (b"transfer-encoding", b"chunked")], status=204)
    assert b"content-length" not in wire.written
    assert b"transfer-encoding" not in wire.written
    assert wire.written.endswith(b"\r\n\r\n")


async def test_an_answer_is_one_write() -> None:
    for path in ("/", "/echo", "/big/60000"):
        wire = await converse(Connection, everything, [get(path)])
        assert wire.writes == 1
