from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from graft.error_handlers import ErrorHandlers


class Expected(Exception):
    pass


def says(text: str) -> Callable[[Request, Exception], Awaitable[PlainTextResponse]]:
    async def handle(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(text, 418)

    return handle


APP = Starlette(exception_handlers={Expected: says("expected"), Exception: says("unexpected")})
OTHER = Starlette(exception_handlers={Expected: says("another app's")})


async def answer_to(handlers: ErrorHandlers, error: Exception, app: Any = APP, sent: bytearray | None = None) -> bytes:
    sent = bytearray() if sent is None else sent

    async def send(message: Any) -> None:
        sent.extend(message.get("body", b""))

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "app": app}
    await handlers.answer(error, scope, receive, send)
    return bytes(sent)


async def test_what_the_app_expects_is_answered_by_its_handler() -> None:
    for handlers in (ErrorHandlers(), ErrorHandlers(unexpected=True)):
        assert await answer_to(handlers, Expected()) == b"expected"
        assert await answer_to(handlers, HTTPException(404, "nothing here")) == b"nothing here"


async def test_what_nobody_expects_is_raised_again_unless_that_was_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        await answer_to(ErrorHandlers(), ZeroDivisionError())


async def test_what_nobody_expects_is_answered_where_that_was_asked_for_and_raised_again_for_the_log() -> None:
    error, sent = ZeroDivisionError(), bytearray()
    with pytest.raises(ZeroDivisionError) as raised:
        await answer_to(ErrorHandlers(unexpected=True), error, sent=sent)
    assert (raised.value, sent) == (error, b"unexpected")


async def test_the_named_app_is_asked_also_for_requests_that_went_on_to_another() -> None:
    assert await answer_to(ErrorHandlers(APP), Expected(), OTHER) == b"expected"
    assert await answer_to(ErrorHandlers(), Expected(), OTHER) == b"another app's"
    assert await answer_to(ErrorHandlers(), HTTPException(404, "nothing here"), None) == b"nothing here"
