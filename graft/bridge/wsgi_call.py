"""One call of a WSGI app in a worker thread: ``start_response``, ``write``, the iteration and ``close`` of PEP 3333."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Iterable
from threading import get_ident
from types import TracebackType
from typing import Any

from graft.bridge.environ import Environ, ErrorStream
from graft.bridge.response_channel import ResponseAbandoned, ResponseChannel
from graft.bridge.response_head import ProtocolError, encode_headers, hand_over, parse_status
from graft.bridge.sent_file import sent_file
from graft.chance import CHANCE
from graft.request_record import RequestRecord
from graft.threads.clocks import Clocks
from graft.threads.scheduler import Job, LoopCall, Scheduler
from graft.threads.slow_views import kind
from graft.threads.worker import describe_thread

log = logging.getLogger("graft.legacy")

WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

SAMPLED = 1 / 32
"""Of the requests so many have their clocks read: by chance, as clients may ask in turns."""
_NO_BODY = frozenset({204, 304})
# The coroutines of these may be cancelled where the server gives up. A view that writes runs to its end.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class WSGICall(Job):
    """``run`` belongs to a worker thread; ``abandon``, ``cancel``, ``release`` and what a scheduler calls to the loop.

    ``on_wait`` is called on the loop when the call has to wait for a free thread or for a coroutine. ``context``: the
    ContextVars of the request, by default a copy of the caller's.
    """

    # Written by the worker thread.
    rule: Any = None
    """The werkzeug rule that matched, where the app is a Flask app."""
    _thread = 0
    _remaining: int | None = None  # of the declared Content-Length
    _was_cut = False
    _is_single = False  # the iterable has one item, which is all of the body
    # Written by the loop.
    sends_files = False  # whether the connection takes a file; set before the call is submitted
    _was_queued = False
    _is_cancelled = False
    _loop_call: LoopCall | None = None

    def __init__(
        self,
        app: WSGIApp,
        environ: Environ,
        scheduler: Scheduler,
        window: int,
        on_wait: Callable[[], None] | None,
        context: contextvars.Context | None = None,
    ) -> None:
        self.scheduler = scheduler  # Job's own beginning, with one call less for each request
        self.channel = ResponseChannel(scheduler, window)
        self.environ = environ
        self._app = app
        self._context = context or contextvars.copy_context()
        self._errors: ErrorStream = environ["wsgi.errors"]  # the app may take it out of the environ
        # The app may do to its environ what it likes.
        self._method: str = environ["REQUEST_METHOD"]
        self._path: str = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        self._record = RequestRecord.of(environ.get("asgi.scope") or {})
        self._has_body = self._method != "HEAD"
        self.on_wait = on_wait

    # In the worker thread.

    def run(self) -> None:
        self._thread = get_ident()
        self._context.run(self._serve)

    def _serve(self) -> None:
        channel = self.channel
        iterable: Any = None
        failure: str | None = None
        try:
            if not channel.abandoned:
                app = self._measured if CHANCE.random() < SAMPLED else self._app
                iterable = app(self.environ, self._start_response)
                self._send_all(iterable)
        except ResponseAbandoned:
            pass
        except BaseException as error:
            failure = self._failed(error)
        close = getattr(iterable, "close", None)
        if close is not None:
            try:
                close()
            except BaseException as error:
                log.error("%s failed in close()", self.name, exc_info=error)
        self._errors.flush()
        channel.end(failure)
        channel.announce_app_closed()

    def _measured(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The app's call, with its clocks read: what there is to win by a native route."""
        before = Clocks()
        try:
            return self._app(environ, start_response)
        finally:
            self._record.work = before.work()

    def _failed(self, error: BaseException) -> str | None:
        """Log it; what to say of it where the response is still waited for."""
        if self.channel.abandoned:
            log.info("%s ended after its client had left: %r", self.name, error)
            return None
        log.error("%s failed%s", self.name, " after its body began" if self.channel.begun else "", exc_info=error)
        return f"{type(error).__name__}: {error}"

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        channel = self.channel
        if exc_info:
            try:
                if channel.begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no reference cycle
        elif channel.head is not None:
            raise ProtocolError("start_response was called again without exc_info")
        code, reason = parse_status(status)
        never_has_body = code in _NO_BODY
        self._has_body = not never_has_body and self._method != "HEAD"
        pairs, length = encode_headers(headers, drop_length=never_has_body)
        self._remaining = length if self._has_body else None
        channel.head = {"type": "http.response.start", "status": code, "headers": pairs}
        if reason is not None:
            channel.head["reason"] = reason  # Graft's own connection sends it, other servers the standard phrase
        # The one moment at which Flask's own request still stands in the environ, and its rule is known.
        self.rule = self.current_rule
        self._record.legacy_rule = self.rule  # from here on log lines may have to name the route
        return self._write

    def _write(self, chunk: bytes) -> None:
        self._is_single = False
        self._send(chunk)

    def _send_all(self, iterable: Iterable[bytes]) -> None:
        channel = self.channel
        head = channel.head
        self._is_single = hasattr(iterable, "__len__") and len(iterable) <= 1  # type: ignore[arg-type]
        if self._is_single and type(iterable) is not list:
            iterable = tuple(iterable)  # it is gone through twice, which an iterator of one item can't be
        # One item is the whole body: it needs no stream, and its length is known.
        if self._is_single and self._remaining is None and head is not None and self._has_body and not channel.begun:
            self._remaining = sum(map(len, iterable))
            head["headers"].append((b"content-length", b"%d" % self._remaining))
        if self.sends_files and self._remaining and not channel.begun and not channel.abandoned:
            file = sent_file(iterable, self._remaining)
            if file is not None:
                channel.end_with_file(file)
                return
        for chunk in iterable:
            self._send(chunk)
            if channel.ended and not self._has_body:
                return
        if channel.ended:
            return
        if channel.abandoned:
            raise ResponseAbandoned
        if channel.head is None:
            raise ProtocolError("the app ended without a call of start_response")
        if self._remaining and (channel.produced or not hand_over(channel.head)):
            channel.is_short = True
            raise ProtocolError(f"the body is shorter than its Content-Length, by {self._remaining} bytes")
        channel.end()

    def _send(self, chunk: bytes) -> None:
        channel = self.channel
        if not isinstance(chunk, bytes):
            raise ProtocolError(f"the body has an item of type {type(chunk).__name__}, which is not bytes")
        if channel.abandoned:
            raise ResponseAbandoned
        if not chunk:
            return
        if channel.head is None:
            raise ProtocolError("the app sent a body before it called start_response")
        if not self._has_body:
            channel.end()
            return
        if self._remaining is not None:
            if len(chunk) > self._remaining:
                if not self._was_cut:
                    log.warning("%s: what its body has beyond its Content-Length is cut off", self.name)
                self._was_cut = True
                chunk = chunk[: self._remaining]
            self._remaining -= len(chunk)
        if chunk:
            channel.put(chunk)
        if self._remaining == 0:
            channel.end()
        elif not self._is_single:
            channel.flush()

    # On the loop.

    def must_wait(self) -> None:
        if not self._was_queued and self.on_wait is not None:
            self._was_queued = True
            self.on_wait()

    def waits_for(self, call: LoopCall) -> None:
        # In any thread. First the call, then the looks; the loop cancels, and asks to be told, the other way round: so
        # one of the two sees the other. A request that nobody watches yet costs the loop nothing.
        self._loop_call = call
        if self._is_cancelled:
            self.scheduler.post(self.cancel)
        elif self.on_wait is not None:
            self.scheduler.post(self._tell_that_it_waits)

    def _tell_that_it_waits(self) -> None:
        if self.on_wait is not None:
            self.on_wait()

    def is_waiting(self) -> bool:
        """Whether it waits for a thread to begin it, or its thread for a coroutine."""
        return not self._thread if self._loop_call is None else not self._loop_call.done

    def abandon(self) -> None:
        """Nobody waits for the response any more: the thread ends the app's iterable and comes back. A view runs to its
        end, as under any WSGI server, and its answer is thrown away."""
        self.channel.abandon()

    def cancel(self) -> None:
        """``abandon``, and have an async view that only reads end: it has taken too long, or the server ends."""
        self.abandon()
        self._is_cancelled = True  # before the look: see waits_for
        call = self._loop_call
        if call is not None and self._method in _SAFE and not self.scheduler.loop.is_closed():
            call.cancel()

    def release(self) -> None:
        """The response is sent, or given up. What is left refers to nothing that the garbage collector would have to
        find."""
        self.on_wait = self._loop_call = None

    # In any thread.

    @property
    def kind(self) -> str:
        return kind(self._method, self._path)

    @property
    def name(self) -> str:
        return f"{self._method} {self._path}"

    @property
    def current_rule(self) -> Any:
        """The rule that Flask found for the request, as far as it got."""
        return getattr(self.environ.get("werkzeug.request"), "url_rule", None)

    @property
    def view(self) -> str:
        """The endpoint that Flask found for the request, as far as it got."""
        request = self.environ.get("werkzeug.request")
        return getattr(request, "endpoint", None) or "no view yet"

    def describe_thread(self) -> str:
        """Where the thread is at this moment."""
        return describe_thread(self._thread)
