"""A pytest plugin: Werkzeug's test client, and with it Flask's, asks every app through the mount.

``-p tests.parity.mount_client``. The request goes from the client's environ to an ASGI scope, through ``LegacyMount``
and its worker threads, and back. What the client puts into the environ beside the request goes along; what the app
raises is raised in the test, as without a server.
"""

from __future__ import annotations

import asyncio
import http
import io
import threading
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import werkzeug.test
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

from graft.bridge.exchange import BrokenAnswer
from graft.bridge.mount import LegacyMount

_run_directly = werkzeug.test.run_wsgi_app
_loop = asyncio.new_event_loop()
threading.Thread(target=_loop.run_forever, daemon=True).start()
_OF_THE_REQUEST = (
    "HTTP_",
    "wsgi.",
    "REQUEST_",
    "PATH_INFO",
    "SCRIPT_NAME",
    "QUERY_STRING",
    "CONTENT_",
    "SERVER_",
    "RAW_",
)


def run_wsgi_app(app: Any, environ: dict[str, Any], buffered: bool = False) -> tuple[Iterable[bytes], str, Headers]:
    """In place of ``werkzeug.test.run_wsgi_app``. The body is complete when it returns.

    An environ without a method is no request, and nothing that a client could send: its app is called as it is.
    """
    if "REQUEST_METHOD" not in environ:
        return _run_directly(app, environ, buffered)
    observed = _Observed(app, environ)
    sent = asyncio.run_coroutine_threadsafe(_ask(observed, dict(environ)), _loop).result(30)
    if observed.error is not None:  # here and not on the loop, which a KeyboardInterrupt would end
        raise observed.error
    head = sent[0]
    reason = head.get("reason")
    phrase = http.HTTPStatus(head["status"]).phrase if reason is None else reason.decode("latin-1")
    headers = Headers([(name.decode().title(), value.decode("latin-1")) for name, value in head["headers"]])
    body = ClosingIterator([b"".join(message.get("body", b"") for message in sent[1:])])
    return body, f"{head['status']} {phrase}", headers


class _Observed:
    """``app`` with the rest of the client's environ; ``error`` is what it raised."""

    def __init__(self, app: Any, environ: dict[str, Any]) -> None:
        self.app = app
        self.error: BaseException | None = None
        self._rest = {key: value for key, value in environ.items() if not key.startswith(_OF_THE_REQUEST)}
        self._errors = environ.get("wsgi.errors")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.update(self._rest)
        if self._errors is not None:
            environ["wsgi.errors"] = self._errors
        try:
            return _Body(self.app(environ, start_response), self)
        except BaseException as error:
            self.error = error
            raise


class _Body:
    def __init__(self, body: Iterable[bytes], observed: _Observed) -> None:
        self._body = body
        self._iterator = iter(body)
        self._observed = observed

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._iterator)
        except StopIteration:
            raise
        except BaseException as error:
            self._observed.error = error
            raise

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


async def _ask(observed: _Observed, environ: dict[str, Any]) -> list[dict[str, Any]]:
    body = environ.get("wsgi.input", io.BytesIO())
    content = body.read()
    if body.seekable():
        body.seek(-len(content), io.SEEK_CUR)  # a client that follows a redirect sends it again
    incoming = [{"type": "http.request", "body": content, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        return await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    mount = LegacyMount(observed.app, 1)
    mount.app = observed
    try:
        await mount(_scope(environ), receive, send)
    except BrokenAnswer:
        if observed.error is None:
            raise
    finally:
        await mount.aclose(10)
    return sent


def _scope(environ: dict[str, Any]) -> dict[str, Any]:
    root, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    raw = (root + path).encode("latin-1")
    headers = [
        (key[5:].replace("_", "-").lower().encode(), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers.append((key.replace("_", "-").lower().encode(), environ[key].encode("latin-1")))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/"),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": raw.decode("utf-8", "replace"),
        "raw_path": environ.get("REQUEST_URI", quote(raw)).partition("?")[0].encode("latin-1"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": root.encode("latin-1").decode("utf-8", "replace"),
        "headers": headers,
        "client": (environ.get("REMOTE_ADDR", "127.0.0.1"), 5000),
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    }


werkzeug.test.run_wsgi_app = run_wsgi_app
