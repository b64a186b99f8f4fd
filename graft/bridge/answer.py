"""What a WSGI app answers: made in a worker thread, taken by the loop.

An answer that is known to be complete crosses to the loop once, whole. A stream crosses chunk by chunk, and never gets
further ahead of the client than a window.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import re
from collections import deque
from collections.abc import Callable, Iterable
from threading import get_ident
from types import TracebackType
from typing import Any

from graft.bridge.environ import Environ, ErrorStream
from graft.threads.scheduler import Job, LoopCall, Scheduler
from graft.threads.slow_views import kind
from graft.threads.worker import describe_thread
from graft.types import Message

log = logging.getLogger("graft.legacy")

WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

# After so many seconds in the queue, or in an async view, it is worth to watch whether the client is still there.
WATCH_AFTER = 0.1
# These may be cancelled when the client has left. A view that writes runs to its end, as under any WSGI server.
HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
# Chunks below this are joined on their way out, bigger ones go as they are.
JOINED = 64 * 1024


class ProtocolError(AssertionError):
    """The WSGI app broke PEP 3333."""


class HungUp(BaseException):
    """Ends the work in the thread: nobody waits for the answer. Never seen outside of this module's callers."""


class Answer(Job):
    """One call of a WSGI app. ``run`` belongs to a worker thread, the rest to the loop.

    Each attribute has one writer; what both sides look at is ordered so that neither misses the other.
    """

    def __init__(self, app: WSGIApp, environ: Environ, scheduler: Scheduler, window: int) -> None:
        super().__init__(scheduler)
        self._app = app
        self._window = window
        self._context = contextvars.copy_context()
        self.environ = environ
        self._errors: ErrorStream = environ["wsgi.errors"]
        # Written by the thread.
        self.head: Message | None = None
        self.chunks: deque[bytes] = deque()
        self.bodyless = environ["REQUEST_METHOD"] == "HEAD"
        self.rule: Any = None  # the werkzeug rule that matched, where the app is a Flask app
        self.posted = False  # the loop has been told of the first byte, or of the end
        self.finished = False  # no more chunks will come
        self.failed: str | None = None  # why the answer broke off
        self.closed = False  # the app's close() has run
        self._left: int | None = None  # of the declared Content-Length
        self._whole = False  # the iterable has one item, and it is all
        self._made = 0
        self._thread = 0
        # Written by the loop.
        self.while_away: Callable[[], None] | None = None
        self._crossing: LoopCall | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._taken = 0
        self._gone = False
        self._gate: queue.SimpleQueue[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self._close_news: asyncio.Future[None] | None = None
        self._listening = False

    # On the loop.

    async def news(self) -> None:
        """Wait until there is something to take, the end has come, or ``wake`` is called."""
        self._news = self.scheduler.loop.create_future()
        self._listening = True
        if not (self.chunks and self.posted) and not self.finished:
            await self._news
        self._listening = False

    def wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def take(self) -> bytes:
        """The next part of the body: one big chunk, or small ones joined. Empty when nothing is there."""
        chunks = self.chunks
        if not chunks:
            return b""
        part = chunks.popleft()
        if chunks and len(part) < JOINED:
            parts = [part]
            size = len(part)
            while chunks and size + len(chunks[0]) <= JOINED:
                parts.append(chunks.popleft())
                size += len(parts[-1])
            part = b"".join(parts)
        self._taken += len(part)
        self._open_gate()
        return part

    def hang_up(self) -> None:
        """Tell the thread that nobody waits any more: it ends the app's iterable and comes back."""
        self._gone = True
        self.chunks.clear()
        self._open_gate()
        if self.scheduler.loop.is_closed():  # the server went down in the middle of it
            return
        self.wake()
        if self._crossing is not None and self.environ["REQUEST_METHOD"] in HARMLESS:
            self._crossing.cancel()

    def waits_for(self, work: LoopCall) -> None:
        self._crossing = work
        if self._gone:
            self.hang_up()
        else:
            self.watch_soon()

    def must_wait(self) -> None:
        if self._watching is None:
            self.watch_soon()

    def watch_soon(self) -> None:
        """It waits, for a thread or for a coroutine: if that takes long, see whether the client does, too."""
        self._unwatch()
        self._watching = self.scheduler.loop.call_later(WATCH_AFTER, self._watch)

    def let_go(self) -> None:
        """Nobody waits here any more. What is left refers to nothing, so that no garbage collector has to find it."""
        self.while_away = self._crossing = None
        self._unwatch()

    def _unwatch(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def _watch(self) -> None:
        waits = not self._thread if self._crossing is None else not self._crossing.done
        if waits and self.while_away is not None:
            self.while_away()

    @property
    def hung_up(self) -> bool:
        return self._gone

    @property
    def view(self) -> str:
        """The endpoint that Flask found for the request, as far as it got."""
        request = self.environ.get("werkzeug.request")
        return getattr(request, "endpoint", None) or "no view yet"

    def whereabouts(self) -> str:
        """Where the thread is at this moment."""
        return describe_thread(self._thread)

    async def has_closed(self) -> None:
        """Wait until the app's close() has run. It has, nearly always, by the time the answer is sent."""
        if self.closed:
            return
        self._close_news = self.scheduler.loop.create_future()
        if not self.closed:
            await self._close_news

    def _open_gate(self) -> None:
        gate = self._gate
        if gate is not None and (self._gone or self._made - self._taken <= self._window // 2):
            gate.put(None)

    def _wake_closed(self) -> None:
        if self._close_news is not None and not self._close_news.done():
            self._close_news.set_result(None)

    # In the thread.

    def run(self) -> None:
        self._thread = get_ident()
        self._context.run(self._serve)

    def _serve(self) -> None:
        iterable: Any = None
        try:
            if not self._gone:
                iterable = self._app(self.environ, self._start_response)
                self._deliver(iterable)
        except HungUp:
            pass
        except BaseException as error:
            self._fail(error)
        self._close(iterable)
        self._errors.flush()
        if not self.finished:
            self._end()
        self.closed = True
        if self._close_news is not None:
            self.scheduler.post(self._wake_closed)

    def _deliver(self, iterable: Iterable[bytes]) -> None:
        self._weigh(iterable)
        for chunk in iterable:
            self._put(chunk)
            if self.finished and self.bodyless:
                return
        self._finish()

    def _weigh(self, iterable: Iterable[bytes]) -> None:
        """An iterable of one item is the whole body: it needs no stream, and its length is known."""
        try:
            self._whole = len(iterable) <= 1  # type: ignore[arg-type]
        except TypeError:
            return
        head = self.head
        if self._whole and self._left is None and head is not None and not self.bodyless and not self.posted:
            size = sum(map(len, iterable))
            head["headers"].append((b"content-length", b"%d" % size))
            self._left = size

    def _put(self, chunk: bytes) -> None:
        if not isinstance(chunk, bytes):
            raise ProtocolError(f"the body has an item of type {type(chunk).__name__}, which is not bytes")
        if self._gone:
            raise HungUp
        if not chunk:
            return
        if self.head is None:
            raise ProtocolError("the app sent a body before it called start_response")
        if self.bodyless:
            self._end()
            return
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise ProtocolError(f"the body is longer than its Content-Length, by at least {-self._left} bytes")
        self._made += len(chunk)
        self.chunks.append(chunk)
        if self._left == 0:
            self._end()
        elif not self._whole:
            self._notify()
            if self._made - self._taken > self._window:
                self._wait_for_room()

    def _finish(self) -> None:
        if self.finished:
            return
        if self._gone:
            raise HungUp
        if self.head is None:
            raise ProtocolError("the app ended without a call of start_response")
        if self._left and not self.bodyless:
            raise ProtocolError(f"the body is shorter than its Content-Length, by {self._left} bytes")
        self._end()

    def _end(self) -> None:
        self.finished = True
        self._notify()

    def _notify(self) -> None:
        self.posted = True
        if self._listening:
            self._listening = False
            self.scheduler.post(self.wake)

    def _wait_for_room(self) -> None:
        gate = self._gate = self._gate or queue.SimpleQueue()
        while self._made - self._taken > self._window and not self._gone:
            gate.get()
        if self._gone:
            raise HungUp

    def _fail(self, error: BaseException) -> None:
        if self._gone:
            log.info("%s ended after its client had left: %r", self.name, error)
            return
        log.error("%s failed%s", self.name, " after its body began" if self.posted else "", exc_info=error)
        if not self.finished:
            self.failed = f"{type(error).__name__}: {error}"

    def _close(self, iterable: Any) -> None:
        close = getattr(iterable, "close", None)
        if close is None:
            return
        try:
            close()
        except BaseException as error:
            log.error("%s failed in close()", self.name, exc_info=error)

    @property
    def kind(self) -> str:
        return kind(self.environ["REQUEST_METHOD"], self.environ["SCRIPT_NAME"] + self.environ["PATH_INFO"])

    @property
    def name(self) -> str:
        return f"{self.environ['REQUEST_METHOD']} {self.environ['SCRIPT_NAME']}{self.environ['PATH_INFO']}"

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self.posted:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no reference cycle
        elif self.head is not None:
            raise ProtocolError("start_response was called again without exc_info")
        self._begin(status, headers)
        return self._write

    def _begin(self, status: str, headers: list[tuple[str, str]]) -> None:
        code = parse_status(status)
        bare = code in _NO_BODY
        self.bodyless = bare or self.environ["REQUEST_METHOD"] == "HEAD"
        pairs, self._left = encode_headers(headers, drop_length=bare)
        if self.bodyless:
            self._left = None
        self.head = {"type": "http.response.start", "status": code, "headers": pairs}
        # The one moment at which Flask's own request still stands in the environ, and its rule is known.
        self.rule = getattr(self.environ.get("werkzeug.request"), "url_rule", None)

    def _write(self, chunk: bytes) -> None:
        self._whole = False
        self._put(chunk)


def parse_status(status: str) -> int:
    """The number in "200 OK". Raises ProtocolError when it is none that a final answer may have."""
    code = status[:3]
    if not code.isdecimal() or not code.isascii() or not 200 <= int(code) <= 599 or status[3:4].strip():
        raise ProtocolError(f"the status {status!r} is not one that a server can send")
    return int(code)


def encode_headers(
    headers: Iterable[tuple[str, str]], *, drop_length: bool
) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The headers as ASGI has them, and the declared length. Raises ProtocolError for those no server should send."""
    pairs: list[tuple[bytes, bytes]] = []
    length: int | None = None
    for name, value in headers:
        key = _NAMES.get(name) or _encode_name(name)
        text = _encode_value(name, value)
        if key in _HOP_BY_HOP and not (key == b"connection" and text.lower() == b"close"):
            continue
        if key == b"content-length":
            if drop_length:
                continue
            if not text.isdigit() or length is not None:
                raise ProtocolError(f"the Content-Length {value!r} is no number, or there are two")
            length = int(text)
        pairs.append((key, text))
    return pairs, length


def _encode_name(name: str) -> bytes:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ProtocolError(f"the header name {name!r} is not one")
    key = name.lower().encode("ascii")
    if len(_NAMES) < 1024:
        _NAMES[name] = key
    return key


def _encode_value(name: str, value: str) -> bytes:
    try:
        if not _CONTROL.search(value):
            return value.strip(" \t").encode("latin-1")
    except (TypeError, UnicodeEncodeError):
        pass
    raise ProtocolError(f"the header {name} has a value that can't be sent: {value!r}") from None


_NO_BODY = frozenset({204, 304})
_NAMES: dict[str, bytes] = {}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# These belong to the server's own connection. "Connection: close" is the one wish that an app may have about it.
_HOP_BY_HOP = frozenset(
    name.encode()
    for name in ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
