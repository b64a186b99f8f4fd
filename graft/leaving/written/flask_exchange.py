"""A request's body on its way to the Flask app's functions and the route, and the route's answer on its way back."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import IO

from starlette.responses import Response
from starlette.types import Message, Receive, Send

from graft.leaving.written.flask_context import FlaskContext


class Exchange:
    """A route's answer on its way through the after_request functions."""

    def __init__(self, context: FlaskContext, send: Send) -> None:
        self.has_begun = False
        self._context = context
        self._send = send
        self._start: Message = {}
        self._parts: list[bytes] | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            names = {name.lower() for name, _ in message.get("headers", ())}
            if message["status"] in (204, 304) or b"content-length" in names:
                self._parts = []
            else:
                self.has_begun = True
                answer = await self._after(None)
                await self._send({**message, "status": answer.status_code, "headers": answer.raw_headers})
        elif message["type"] == "http.response.body" and self._parts is not None:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.has_begun = True
                answer = await self._after(b"".join(self._parts))
                start = {**self._start, "status": answer.status_code, "headers": answer.raw_headers}
                await self._send(start)
                await self._send({"type": "http.response.body", "body": answer.body})
        else:
            await self._send(message)

    async def _after(self, body: bytes | None) -> Response:
        start = self._start
        after = partial(self._context.after_native, start["status"], list(start.get("headers", ())), body)
        answer: Response = await self._context.call(after)
        return answer


async def read(receive: Receive) -> IO[bytes]:
    """The whole body, above a megabyte in a file: both the app's functions and the route may read it. Closed where the
    client left in the middle."""
    body = tempfile.SpooledTemporaryFile(1024 * 1024)  # noqa: SIM115
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            body.close()
            return body
        body.write(message.get("body", b""))
        if not message.get("more_body", False):
            body.seek(0)
            return body


def replaying(body: IO[bytes], receive: Receive) -> Receive:
    """``receive`` as if nobody had read ``body`` yet."""
    at = 0

    async def replay() -> Message:
        nonlocal at
        if at < 0:
            return await receive()
        body.seek(at)
        part = body.read(64 * 1024)
        at += len(part)
        more = len(part) == 64 * 1024
        if not more:
            at = -1
            body.seek(0)
        return {"type": "http.request", "body": part, "more_body": more}

    return replay
