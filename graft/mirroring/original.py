"""The original: a user's request, kept while it is answered, so that the other side can be asked. (event loop)"""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import lru_cache

from graft.error_handlers import ErrorHandlers
from graft.mirroring.answers import Answer, KeptAnswer, KeptBody, copied_scope, has_body
from graft.mirroring.redact import Redactor
from graft.operations.switch import Switch
from graft.request_record import RequestRecord
from graft.types import ASGIApp, Message, Receive, RouteKey, Scope, Send, Side

_LINE = 1000
"""Characters of one argument of a log line."""

logger = logging.getLogger("graft.mirroring.mirror")


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides of one route, as a mirrored request meets them: ``legacy`` has threads of its own."""

    key: RouteKey
    native: ASGIApp
    legacy: ASGIApp
    handlers: ErrorHandlers

    def app(self, side: Side) -> ASGIApp:
        return self.native if side is Side.NATIVE else self.legacy


class Original:
    """One request while it is answered: ``receive`` and ``send`` are handed to the side that answers."""

    __slots__ = ("_body", "_kept", "_send", "context", "receive", "scope", "sides", "started", "switch")

    def __init__(self, sides: Sides, switch: Switch, scope: Scope, receive: Receive, send: Send, largest: int) -> None:
        self.sides = sides
        self.switch = switch
        self.scope = copied_scope(scope)
        self.context = contextvars.copy_context()
        self.started = time.perf_counter()
        self._body = KeptBody(receive, largest) if has_body(scope) else None
        self._kept = KeptAnswer(largest)
        self._send = send
        RequestRecord.of(scope).file_way = None  # the bytes of a file are to be compared, too
        self.receive: Receive = self._body or receive

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._kept.keep(message)  # before it goes out: what lies in front adds headers of its own
            return self._send(message)
        return self._send_and_keep(message)

    async def _send_and_keep(self, message: Message) -> None:
        await self._send(message)
        self._kept.keep(message)

    @property
    def unfit(self) -> str | None:
        """Why it can't be run again: a reason that ``Recorder.skipped`` knows."""
        if self._kept.unkept:
            return self._kept.unkept
        if not self._kept.complete:
            return "cut off"
        if self._body is None or (self._body.complete and not self._body.overflowed):
            return None
        return "upload" if self._body.overflowed else "unread"

    @property
    def status(self) -> int:
        """What the user was answered with."""
        return self._kept.status

    @property
    def body(self) -> bytes:
        return self._body.body if self._body is not None else b""

    @property
    def size(self) -> int:
        return len(self.body) + len(self._kept.body)

    def log(self, level: int, message: str, *arguments: object) -> None:
        """A line about its mirrored run, with the id of the request. What an exception says of its values is a stored
        difference's matter, which has no secrets; so has this line none."""
        shown = [_redacted(self.switch.redact, each) if type(each) is str else each for each in arguments]
        self.context.copy().run(logger.log, level, message, *shown)

    def answer(self, side: Side) -> Answer:
        return self._kept.answer(side, self.started)


@lru_cache(100)
def _redacted(names: tuple[str, ...], text: str) -> str:
    """A route that fails says the same again and again."""
    return Redactor.of(names).text(text)[:_LINE]


def is_upload(scope: Scope, largest: int) -> bool:
    """Does the request say that its body is larger than that, or one of files?"""
    for name, value in scope["headers"]:
        if name == b"content-length" and not (value.isdigit() and int(value) <= largest):
            return True
        if name == b"content-type" and value.lower().startswith(b"multipart/"):
            return True
    return False
