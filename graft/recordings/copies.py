"""Copies of sampled requests, taken beside the WSGI app while somebody records.

Who is not in the sample passes one comparison. Who is, is answered by the same app, byte by byte as it comes: its
bytes are kept beside, and all work with them is somebody else's. Nothing is kept of a file, of an answer or a body that
is large, of an upload that is read while the view runs, and of what broke off.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from graft.bridge.environ import Environ, FileWrapper
from graft.bridge.wsgi_call import WSGIApp
from graft.chance import CHANCE
from graft.recordings.redaction import Said

LARGEST = 256 * 1024
"""Bytes of a body or an answer that are kept."""

WAITING = 200
WAITING_BYTES = 8 * 1024 * 1024


class Copies:
    """``app`` with copies of ``sample`` percent of what it answers, of the rules ``routes`` alone if there are any.

    Called in worker threads; ``take`` by one other.
    """

    def __init__(self, app: WSGIApp, sample: float, routes: Iterable[str] = ()) -> None:
        self.app = app
        self.dropped = 0
        self._sample = sample / 100
        self._beginnings = [_beginning(route) for route in routes]
        self._taken: deque[Copy] = deque()
        self._bytes = 0

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if CHANCE.random() >= self._sample or not self._is_wanted(environ):
            return self.app(environ, start_response)
        return Copy(self, environ, start_response).answer(self.app)

    def _is_wanted(self, environ: Environ) -> bool:
        if type(environ.get("wsgi.input")) is not io.BytesIO or "HTTP_UPGRADE" in environ:
            return False
        if not self._beginnings:
            return True
        method, path = environ["REQUEST_METHOD"], environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        return any(method == wanted and path.startswith(start) for wanted, start in self._beginnings)

    def keep(self, copy: Copy) -> None:
        """Or drop it, where nobody has come for the ones before. ``append`` is one step; a count of bytes that two
        threads change at once is off by one copy, and is set right when all are taken."""
        if len(self._taken) >= WAITING or self._bytes > WAITING_BYTES:
            self.dropped += 1
            return
        self._bytes += copy.size
        self._taken.append(copy)

    def take(self) -> Iterator[Copy]:
        """What waits, oldest first."""
        for _ in range(len(self._taken)):
            yield self._taken.popleft()
        if not self._taken:
            self._bytes = 0


def _beginning(route: str) -> tuple[str, str]:
    """The method, and the path up to the first parameter: a look that a request can afford."""
    method, _, rest = route.partition(" ")
    return method, rest[max(rest.find("/"), 0) :].partition("{")[0]


class Copy:
    """One request and what was said to it. Used in its worker thread, and when it is kept, in one other."""

    __slots__ = (
        "_body",
        "_chunks",
        "_copies",
        "_environ",
        "_headers",
        "_is_whole",
        "_milliseconds",
        "_start",
        "_started",
        "at",
        "rule",
        "size",
    )

    def __init__(self, copies: Copies, environ: Environ, start_response: Callable[..., Any]) -> None:
        self.at = time.time()
        self.rule: Any = None
        self._body: bytes = environ["wsgi.input"].getvalue()  # before the app may read or change it
        self.size = len(self._body)
        self._copies = copies
        self._environ = environ
        self._start = start_response
        self._started = time.perf_counter()
        self._milliseconds = 0.0
        self._chunks: list[bytes] = []
        self._headers: tuple[str, list[tuple[str, str]]] | None = None
        self._is_whole = True

    @property
    def method(self) -> str:
        return str(self._environ["REQUEST_METHOD"])

    def answer(self, app: WSGIApp) -> Iterable[bytes]:
        iterable = app(self._environ, self._start_response)
        if type(iterable) is FileWrapper or type(iterable).__name__ == "_RangeWrapper":
            return iterable  # the connection may send it without reading it
        if isinstance(iterable, (list, tuple)):
            for chunk in iterable:
                self.add(chunk)
            self.end(complete=True)
            return iterable
        return _Copied(iterable, self)

    def _start_response(self, status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], None]:
        self._headers = status, list(headers)
        # The one moment at which Flask's own request still stands in the environ, and its rule is known.
        self.rule = getattr(self._environ.get("werkzeug.request"), "url_rule", None)
        write: Callable[[bytes], None] = self._start(status, headers, *more)

        def write_and_add(chunk: bytes) -> None:
            self.add(chunk)
            write(chunk)

        return write_and_add

    def add(self, chunk: bytes) -> None:
        if not self._is_whole:
            return
        self.size += len(chunk)
        if self.size > LARGEST:
            self._is_whole = False
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    def end(self, *, complete: bool) -> None:
        """The answer is out. ``complete``: to its last byte."""
        if complete and self._is_whole and self._headers is not None:
            self._milliseconds = (time.perf_counter() - self._started) * 1000
            self._copies.keep(self)

    def said(self, route: str | None) -> Said:
        """For who has taken it. Raises ValueError for an answer that is none of HTTP's."""
        assert self._headers is not None
        status, headers = self._headers
        scope: dict[str, Any] = self._environ.get("asgi.scope") or {}
        return Said(
            method=self.method,
            url=self._url(scope),
            headers=tuple(scope.get("headers", ())),
            body=self._body,
            status=int(status[:3]),
            answer_headers=tuple((n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers),
            answer=b"".join(self._chunks),
            at=datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            milliseconds=self._milliseconds,
            route=route,
        )

    def _url(self, scope: dict[str, Any]) -> str:
        environ = self._environ
        path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        raw: bytes = scope.get("raw_path") or quote(path.encode("latin-1")).encode()
        host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "localhost")
        query = environ.get("QUERY_STRING")
        target = raw.partition(b"?")[0].decode("latin-1") + (f"?{query}" if query else "")
        return f"{environ['wsgi.url_scheme']}://{host}{target}"


class _Copied:
    """The app's iterable, with a copy of each item."""

    def __init__(self, iterable: Iterable[bytes], copy: Copy) -> None:
        self._items = iter(iterable)
        self._close = getattr(iterable, "close", None)
        self._copy = copy
        self._complete = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._items)
        except StopIteration:
            self._complete = True
            raise
        self._copy.add(chunk)
        return chunk

    def close(self) -> None:
        try:
            if self._close is not None:
                self._close()
        finally:
            self._copy.end(complete=self._complete)
