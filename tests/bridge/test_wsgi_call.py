"""What a WSGI app answers, as its client gets it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from flask import Flask, Response, send_file, stream_with_context
from flask import request as flask_request

from graft.bridge.exchange import BrokenAnswer
from graft.bridge.mount import LegacyMount
from tests.bridge.wire import Conversation, request, until, until_true

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


@asynccontextmanager
async def mounted(app: Any, workers: int = 2, **options: Any) -> AsyncIterator[LegacyMount]:
    mount = LegacyMount(app, workers, **options)
    try:
        yield mount
    finally:
        assert await mount.aclose(10)


async def ask(app: Any, *messages: dict[str, Any], **scope: Any) -> Conversation:
    async with mounted(app) as mount:
        return await Conversation(*messages, **scope).ask(mount)


def says(body: Iterable[bytes], status: str = "200 OK", *headers: tuple[str, str]) -> App:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(headers))
        return body

    return app


async def test_a_small_answer_crosses_whole() -> None:
    flask_app = Flask(__name__)
    flask_app.get("/")(lambda: "hello")
    got = await ask(flask_app)
    assert (got.status, got.body) == (200, b"hello")
    assert got.headers["content-length"] == "5"
    assert len(got.sent) == 2
    assert not got.sent[1].get("more_body")


async def test_every_app_that_the_validator_accepts_works_under_it() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(3) + environ["wsgi.input"].readline() + environ["wsgi.input"].read(100)
        environ["wsgi.errors"].write("noted\n")
        write = start_response("200 OK", [("Content-Type", "text/plain"), ("X-A", "1"), ("X-A", "2")])
        write(b"written ")
        return [body]

    message = request(b"abcdef\nghi")
    scope = {"method": "POST", "headers": [("Content-Length", "10"), ("Content-Type", "text/plain")]}
    got = await ask(validator(app), message, **scope)
    assert got.body == b"written abcdef\nghi"
    assert [value for name, value in got.sent[0]["headers"] if name == b"x-a"] == [b"1", b"2"]


async def test_the_length_of_a_single_item_is_declared() -> None:
    assert (await ask(says([b"abc"]))).headers["content-length"] == "3"
    assert (await ask(says([]))).headers["content-length"] == "0"
    assert "content-length" not in (await ask(says([b"abc", b"def"]))).headers


async def test_a_body_that_has_a_length_and_can_be_gone_through_once_arrives() -> None:
    class Once:
        def __init__(self) -> None:
            self.left = iter([b"hello"])

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[bytes]:
            return self.left

    got = await ask(says(Once()))  # type: ignore[arg-type]
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"hello", "5")


async def test_a_stream_leaves_chunk_by_chunk_as_it_is_made() -> None:
    go_on = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b""
        yield b"first"
        assert go_on.wait(10)
        yield b"second"

    async with mounted(says(chunks())) as mount:
        conversation = Conversation()

        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(lambda: conversation.sent[1:])
        assert conversation.body == b"first"
        go_on.set()
        await asking
    assert conversation.body == b"firstsecond"
    assert conversation.sent[-1].get("more_body", False) is False


async def test_an_answer_that_reached_its_content_length_does_not_wait_for_the_generator_to_end() -> None:

    go_on = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"all"
        assert go_on.wait(10)

    async with mounted(says(chunks(), "200 OK", ("Content-Length", "3"))) as mount:
        conversation = Conversation()
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(lambda: len(conversation.sent) == 2)
        assert not conversation.sent[1].get("more_body")
        go_on.set()
        await asking


async def test_small_chunks_that_wait_together_are_joined_and_big_ones_are_not() -> None:
    big = b"b" * 100_000
    got = await ask(says(iter([b"x"] * 1000 + [big] + [b"y"] * 1000)))
    assert got.body == b"x" * 1000 + big + b"y" * 1000
    assert len(got.sent) < 1000
    assert any(message.get("body") is big for message in got.sent)


async def test_write_sends_before_the_iterable() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"one ")
        write(b"two ")
        return [b"three"]

    assert (await ask(app)).body == b"one two three"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_without_a_body_has_none_and_no_length(status: str) -> None:
    got = await ask(says([b"body"], status, ("Content-Length", "4"), ("ETag", '"1"')))
    assert got.body == b""
    assert "content-length" not in got.headers
    assert got.headers["etag"] == '"1"'


async def test_head_keeps_the_length_and_has_no_body() -> None:
    got = await ask(says([b"body"], "200 OK", ("Content-Length", "4")), method="HEAD")
    assert (got.body, got.headers["content-length"]) == (b"", "4")
    got = await ask(says([], "200 OK", ("Content-Length", "4")), method="HEAD")
    assert got.headers["content-length"] == "4"


async def test_head_of_an_endless_stream_ends() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x"

    assert (await ask(says(endless()), method="HEAD")).body == b""


@pytest.mark.parametrize(
    ("body", "length"),
    [([b"abc"], "-3"), ([b"abc"], "three"), ([b"abc"], "")],
)
async def test_a_content_length_that_is_none_is_refused(
    body: list[bytes], length: str, caplog: pytest.LogCaptureFixture
) -> None:
    got = await ask(says(body, "200 OK", ("Content-Length", length)))
    assert got.status == 500
    assert "Content-Length" in caplog.text


async def test_two_content_lengths_are_one_or_refused() -> None:
    got = await ask(says([b"abc"], "200 OK", ("Content-Length", "3"), ("content-length", "3")))
    assert [value for name, value in got.sent[0]["headers"] if name == b"content-length"] == [b"3"]
    assert (await ask(says([b"abc"], "200 OK", ("Content-Length", "3"), ("content-length", "4")))).status == 500


async def test_a_stream_shorter_than_its_content_length_is_cut() -> None:
    conversation = Conversation()

    def chunks() -> Iterator[bytes]:
        yield b"abc"
        conversation.began.wait(10)

    async with mounted(says(chunks(), "200 OK", ("Content-Length", "5"))) as mount:
        with pytest.raises(BrokenAnswer, match="shorter than its Content-Length, by 2 bytes"):
            await conversation.ask(mount)
    assert all(message.get("more_body", True) for message in conversation.sent)


async def test_what_a_stream_has_beyond_its_content_length_never_leaves(caplog: pytest.LogCaptureFixture) -> None:
    got = await ask(says(iter([b"abc", b"def"]), "200 OK", ("Content-Length", "3")))
    assert got.body == b"abc"
    assert caplog.text.count("beyond its Content-Length") == 1


async def test_of_a_chunk_that_crosses_the_content_length_the_first_part_leaves() -> None:
    conversation = Conversation()

    def chunks() -> Iterator[bytes]:
        yield b"ab"
        conversation.began.wait(10)
        yield b"cdef"
        yield b"gh"

    async with mounted(says(chunks(), "200 OK", ("Content-Length", "3"))) as mount:
        await conversation.ask(mount)
    assert conversation.body == b"abc"
    assert not conversation.sent[-1].get("more_body")


@pytest.mark.parametrize("header", ["X-Accel-Redirect", "X-Sendfile"])
@pytest.mark.parametrize("body", [[], [b""], iter([b""])])
async def test_a_file_that_the_proxy_sends_has_no_body_and_no_length_of_ours(header: str, body: Any) -> None:
    got = await ask(says(body, "200 OK", (header, "/protected/a.pdf"), ("Content-Length", "50000")))
    assert (got.status, got.body) == (200, b"")
    assert got.headers == {header.lower(): "/protected/a.pdf", "content-length": "0"}
    assert not got.sent[-1].get("more_body")


async def test_flasks_use_x_sendfile_works(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 300_000)
    flask_app = Flask(__name__)
    flask_app.config["USE_X_SENDFILE"] = True
    flask_app.get("/a")(lambda: send_file(tmp_path / "a.txt"))
    got = await ask(flask_app, path="/a")
    assert (got.status, got.headers["x-sendfile"]) == (200, str(tmp_path / "a.txt"))


async def test_a_reason_of_the_apps_own_goes_along() -> None:
    assert (await ask(says([], "299 Odd Reason"))).sent[0]["reason"] == b"Odd Reason"
    assert "reason" not in (await ask(says([], "200 OK"))).sent[0]


@pytest.mark.parametrize("keys", [("SCRIPT_NAME",), ("PATH_INFO", "REQUEST_METHOD"), None])
async def test_an_app_that_empties_its_environ_and_raises_is_answered(
    keys: tuple[str, ...] | None, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        for key in keys or tuple(environ):
            environ.pop(key)
        raise ValueError("mine")

    async with mounted(app, workers=1) as mount:
        for _ in range(2):
            assert (await asyncio.wait_for(Conversation(path="/a").ask(mount), 10)).status == 500
    assert "GET /a failed" in caplog.text


@pytest.mark.parametrize(
    "status", ["", "abc", "99 Low", "1000 High", "100 Continue", "2000 OK", "²00 OK", "200 a\r\nb"]
)
async def test_a_status_that_no_server_can_send_is_refused(status: str) -> None:
    assert (await ask(says([b""], status))).status == 500


@pytest.mark.parametrize("status", ["200", "200 ", "418 I'm a teapot", "599 Odd", "799 Beyond"])
async def test_a_status_may_lack_its_reason(status: str) -> None:
    assert (await ask(says([b""], status))).status == int(status[:3])


@pytest.mark.parametrize(
    "header",
    [
        ("X-A", "a\r\nSet-Cookie: b=1"),
        ("X-A\n", "a"),
        ("X A", "a"),
        ("", "a"),
        ("X-A", "\u20ac"),
        ("X-A", "a\0"),
        ("X-A", 1),
    ],
)
async def test_a_header_that_would_split_the_answer_is_refused(header: tuple[str, Any]) -> None:
    got = await ask(says([b""], "200 OK", header))
    assert got.status == 500
    assert "set-cookie" not in got.headers


async def test_headers_of_the_connection_are_left_to_the_server() -> None:
    got = await ask(
        says([b"x"], "200 OK", ("Transfer-Encoding", "chunked"), ("Connection", "keep-alive"), ("Keep-Alive", "5"))
    )
    assert set(got.headers) == {"content-length"}
    assert (await ask(says([b"x"], "200 OK", ("Connection", "close")))).headers["connection"] == "close"


async def test_start_response_may_be_called_again_with_exc_info_before_the_first_byte() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-A", "old"), ("Content-Length", "1")])
        try:
            raise ValueError
        except ValueError:
            start_response("502 Bad", [("X-B", "new")], sys.exc_info())
        return [b"sorry"]

    got = await ask(app)
    assert (got.status, got.body) == (502, b"sorry")
    assert "x-a" not in got.headers


async def test_start_response_with_exc_info_after_the_first_byte_raises_the_error() -> None:
    conversation = Conversation()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        conversation.began.wait(10)
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 Bad", [], sys.exc_info())

    async with mounted(app) as mount:
        with pytest.raises(BrokenAnswer, match="ValueError: too late"):
            await conversation.ask(mount)


async def test_a_stream_that_fails_before_the_loop_has_looked_is_a_clean_500() -> None:
    held, failed = threading.Event(), threading.Event()

    def chunks() -> Iterator[bytes]:
        held.wait(10)
        yield b"first"
        failed.set()
        raise ValueError

    async with mounted(says(chunks())) as mount:
        asking = asyncio.create_task(Conversation().ask(mount))
        await asyncio.sleep(0)
        held.set()
        until(lambda: failed.is_set() and mount.pool.stats().busy == 0)  # holds the loop, on purpose
        assert (await asking).status == 500


async def test_start_response_again_without_exc_info_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    assert (await ask(app)).status == 500
    assert "called again without exc_info" in caplog.text


def no_start(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return [b"body"]


def no_start_no_body(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


def nothing(environ: dict[str, Any], start_response: Any) -> None:
    start_response("200 OK", [])


@pytest.mark.parametrize(
    "app", [no_start, no_start_no_body, nothing, says(["text"]), says("text"), says([bytearray(b"a")])]
)  # type: ignore[list-item,arg-type]
async def test_an_app_that_breaks_the_protocol_answers_500(app: Any) -> None:
    assert (await ask(app)).status == 500


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_an_exception_before_the_first_byte_is_a_clean_500(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    flask_app = Flask(__name__)
    flask_app.config["PROPAGATE_EXCEPTIONS"] = True

    @flask_app.get("/fail")
    def fail() -> str:
        raise error

    async with mounted(flask_app, workers=1) as mount:
        got = await Conversation(path="/fail").ask(mount)
        assert got.status == 500
        assert b'"code": "legacy_error"' in got.body
        assert "GET /fail failed" in caplog.text
        assert caplog.records[-1].name == "graft.legacy"
        assert caplog.records[-1].exc_info
        assert (await Conversation(path="/missing").ask(mount)).status == 404


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3)])
async def test_an_exception_after_the_first_byte_cuts_the_connection(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = Conversation()

    def chunks() -> Iterator[bytes]:
        yield b"first"
        conversation.began.wait(10)
        raise error

    async with mounted(says(chunks())) as mount:
        with pytest.raises(BrokenAnswer, match="broke off after its first byte"):
            await conversation.ask(mount)
        assert conversation.body == b"first"
        assert "failed after its body began" in caplog.text
        await until_true(lambda: mount.pool.stats().busy == 0)


async def test_close_and_teardown_and_call_on_close_run_exactly_once() -> None:
    happened: list[str] = []
    flask_app = Flask(__name__)
    flask_app.teardown_request(lambda error: happened.append("teardown"))

    @flask_app.get("/")
    def view() -> Response:
        response = Response("hello")
        response.call_on_close(lambda: happened.append("closed"))
        return response

    assert (await ask(flask_app)).body == b"hello"
    assert happened == ["teardown", "closed"]


async def test_an_exception_in_close_or_teardown_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"body"])

        def close(self) -> None:
            raise SystemExit("in close")

    async with mounted(says(Body()), workers=1) as mount:
        assert (await Conversation().ask(mount)).body == b"body"
        assert (await Conversation().ask(mount)).body == b"body"
    assert "failed in close()" in caplog.text

    flask_app = Flask(__name__)
    flask_app.get("/")(lambda: "hello")

    @flask_app.teardown_request
    def fail(error: BaseException | None) -> None:
        raise ValueError("in teardown")

    assert (await ask(flask_app)).status == 500


async def test_the_answer_does_not_wait_for_close() -> None:

    go_on = threading.Event()
    flask_app = Flask(__name__)

    @flask_app.get("/")
    def view() -> Response:
        response = Response("hello")
        response.call_on_close(lambda: go_on.wait(10))
        return response

    async with mounted(flask_app) as mount:
        conversation = Conversation()
        asking = asyncio.create_task(conversation.ask(mount))
        await until_true(lambda: len(conversation.sent) == 2)
        assert not asking.done()
        go_on.set()
        await asking


async def test_a_stream_keeps_flasks_context_to_its_end() -> None:
    flask_app = Flask(__name__)

    @flask_app.get("/")
    def view() -> Response:
        def chunks() -> Iterator[str]:
            yield flask_request.args["a"]
            yield flask_request.args["b"]

        return Response(stream_with_context(chunks()))

    assert (await ask(flask_app, query_string=b"a=1&b=2")).body == b"12"


async def test_wsgi_errors_reach_logging_even_without_a_line_end(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ.pop("wsgi.errors").write("half a line")
        start_response("200 OK", [])
        return []

    await ask(app)
    assert "half a line" in caplog.text
