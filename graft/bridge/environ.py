"""From an ASGI scope to a WSGI environ: PEP 3333, with what gunicorn adds and what a2wsgi gets wrong put right."""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from graft import __version__
from graft.types import MIRRORED, Scope

log = logging.getLogger("graft.legacy.errors")

Environ = dict[str, Any]

SERVER_SOFTWARE = os.environ.get("SERVER_SOFTWARE") or f"graft/{__version__}"
"""Gunicorn's own under Gunicorn, which sets the variable: apps go by it, as httpbin does to know whether it may read a
chunked body."""
# Small blocks cost a crossing each, and a regular file gives big ones as quickly.
FILE_BLOCK = 256 * 1024
# Header names, paths and addresses come from strangers: what is remembered of them is bounded.
KNOWN_NAMES = 1024
KNOWN_PATHS = 1024
LONGEST_KNOWN = 128  # characters of a name or a path
KNOWN_ENDS = 256


def tell_processes(count: int) -> None:
    """How many workers the server has. Where nobody says so, there may be several under Gunicorn and in a process that
    another one has started. (before the first request)"""
    _SAME["wsgi.multiprocess"] = count > 1
    _known_ends.clear()


def build_environ(scope: Scope) -> Environ:
    """The environ of one request, without ``wsgi.input``."""
    query: bytes = scope.get("query_string", b"")
    asked = scope["path"], scope.get("raw_path"), scope.get("root_path", "")
    script_name, path_info, raw_uri = _known_paths.get(asked) or _learn_paths(asked)
    text = ""
    if query:
        text = query.decode("latin-1")
        raw_uri = f"{raw_uri}?{text}"
    client, server = scope.get("client"), scope.get("server")
    # A WebSocket's version may be left out.
    ends = client, server, scope.get("scheme", "http"), scope.get("http_version", "1.1")
    try:
        known = _known_ends.get(ends)
    except TypeError:  # ASGI's iterables of two: a list can't be looked up
        known = _of_the_connection(*ends)
    environ = (known or _learn_ends(ends)).copy()
    environ["REQUEST_METHOD"] = scope["method"]
    environ["SCRIPT_NAME"] = script_name
    environ["PATH_INFO"] = path_info
    environ["QUERY_STRING"] = text
    environ["REQUEST_URI"] = environ["RAW_URI"] = raw_uri
    environ["wsgi.errors"] = ErrorStream()
    environ["asgi.scope"] = scope
    if MIRRORED in scope:
        environ[MIRRORED] = True
    _add_headers(environ, scope["headers"])
    if not environ["SERVER_NAME"]:
        _name_server_by_host(environ)
    return environ


def _of_the_connection(client: Any, server: Any, scheme: str, version: str) -> Environ:
    """What all requests of a connection have in common, until a proxy says something else of one."""
    address, port = client or ("", "")
    environ: Environ = {
        **_SAME,
        "SERVER_PROTOCOL": _PROTOCOLS.get(version) or f"HTTP/{version}",
        "REMOTE_ADDR": address,
        "REMOTE_PORT": str(port),
        "wsgi.url_scheme": scheme,
    }
    if server and server[1] is not None:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = server[0], str(server[1])
    return environ


def _learn_ends(ends: tuple[Any, Any, str, str]) -> Environ:
    if len(_known_ends) >= KNOWN_ENDS:
        _known_ends.clear()
    environ = _known_ends[ends] = _of_the_connection(*ends)
    return environ


def _learn_paths(asked: tuple[str, bytes | None, str]) -> tuple[str, str, str]:
    paths = _paths(*asked)
    if len(asked[0]) <= LONGEST_KNOWN and len(asked[1] or b"") <= LONGEST_KNOWN:
        if len(_known_paths) >= KNOWN_PATHS:
            _known_paths.clear()
        _known_paths[asked] = paths
    return paths


def _paths(path: str, raw: bytes | None, root: str) -> tuple[str, str, str]:
    """SCRIPT_NAME, PATH_INFO and the request's target as it was sent, but for its query."""
    raw = raw or b""
    if b"?" in raw:
        raw = raw.partition(b"?")[0]
    root = root.rstrip("/")
    uri = raw.decode("latin-1") if raw else _quoted(path)
    wsgi_path = _decoded(raw, path) if b"%" in raw else _as_wsgi(path)
    if not root:
        return "", wsgi_path, uri
    script_name = _as_wsgi(root)
    # A prefix ends at a boundary: /apix is not under /api. Servers differ in whether path has the prefix at all.
    if script_name and (wsgi_path == script_name or wsgi_path.startswith(script_name + "/")):
        wsgi_path = wsgi_path[len(script_name) :]
    return script_name, wsgi_path, uri


def _decoded(raw: bytes, path: str) -> str:
    """The path's own bytes where it came as it was sent; a path that was rewritten on its way wins over them.

    The scope's path has lost the bytes that are no UTF-8.
    """
    decoded = unquote_to_bytes(raw)
    if decoded.decode("utf-8", "replace") == path:
        return decoded.decode("latin-1")
    return _as_wsgi(path)


def _as_wsgi(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _quoted(path: str) -> str:
    return quote(path, safe="/:@!$&'()*+,;=~-._", errors="surrogateescape")


def _name_server_by_host(environ: Environ) -> None:
    """PEP 3333 wants a name and a port even where the socket, as a unix socket, has none."""
    host = environ.get("HTTP_HOST", "") or "localhost"
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name, port = host, "443" if environ["wsgi.url_scheme"] == "https" else "80"
    environ["SERVER_NAME"] = name.strip("[]")
    environ["SERVER_PORT"] = port


def _add_headers(environ: Environ, headers: Sequence[tuple[bytes, bytes]]) -> None:
    get = _KEYS.get
    fields = {get(name) or _key(name): value.decode("latin-1") for name, value in headers}
    if len(fields) == len(headers) and _DROPPED not in fields:
        environ.update(fields)
        return
    # Names that come more than once, or that are dropped.
    for name, value in headers:
        key = _KEYS.get(name) or _key(name)
        text = value.decode("latin-1")
        if key not in environ:
            environ[key] = text
        elif key == "HTTP_COOKIE":
            environ[key] += "; " + text
        elif key != _DROPPED and key not in _SINGLE:
            environ[key] += "," + text
    environ.pop(_DROPPED, None)


def _key(name: bytes) -> str:
    """Where a header goes. One with an underscore goes nowhere: it could pose as another that has a dash there."""
    text = name.decode("latin-1").upper()
    key = _DROPPED if "_" in text else "HTTP_" + text.replace("-", "_")
    if len(name) <= LONGEST_KNOWN and len(_KEYS) < KNOWN_NAMES:
        _KEYS[name] = key
    return key


_DROPPED = "graft.dropped"
_SINGLE = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_HOST"})
_KEYS: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_PROTOCOLS = {version: f"HTTP/{version}" for version in ("1.0", "1.1", "2", "3")}


class ErrorStream:
    """``wsgi.errors``: what is written becomes log records, a whole one at each line end or flush."""

    __slots__ = ("_pending", "_writing")

    def __init__(self) -> None:
        self._pending = ""
        self._writing = False

    def write(self, text: str) -> int:
        self._pending += text
        if self._pending.endswith("\n"):
            self.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        text, self._pending = self._pending.rstrip("\n"), ""
        if not text:
            return
        if self._writing:  # a logging handler that itself writes to wsgi.errors
            os.write(2, (text + "\n").encode("utf-8", "backslashreplace"))
            return
        self._writing = True
        try:
            log.error("%s", text)
        finally:
            self._writing = False

    def isatty(self) -> bool:
        return False


class FileWrapper:
    """``wsgi.file_wrapper``: a file in blocks. A regular file goes in big ones, whatever block size was asked for.

    Middlewares look at ``filelike`` and ``blksize``, as PEP 3333's own example, wsgiref's and Gunicorn's call them.
    """

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize
        self._block = max(blksize, FILE_BLOCK) if _is_regular(filelike) else blksize

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block: bytes = self.filelike.read(self._block)
        if not block:
            raise StopIteration
        return block

    def __getitem__(self, _: int) -> bytes:
        """The next block, whatever is asked for: how a sequence is gone through that has no ``__iter__``."""
        try:
            return next(self)
        except StopIteration:
            raise IndexError from None

    def close(self) -> None:
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def seekable(self) -> bool:
        return hasattr(self.filelike, "seek")

    def seek(self, *args: int) -> None:
        self.filelike.seek(*args)

    def tell(self) -> int | None:
        return self.filelike.tell() if hasattr(self.filelike, "tell") else None


def _is_regular(file: Any) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError, io.UnsupportedOperation):
        return False


_SAME: Environ = {
    "SERVER_SOFTWARE": SERVER_SOFTWARE,
    "SERVER_NAME": "",
    "SERVER_PORT": "",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": SERVER_SOFTWARE.startswith("gunicorn/") or multiprocessing.parent_process() is not None,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,  # the input ends by itself, so a chunked body may be read
    "wsgi.file_wrapper": FileWrapper,
}
"""What every environ has."""

_known_paths: dict[tuple[str, bytes | None, str], tuple[str, str, str]] = {}
"""By path, raw path and root path of the scope."""
_known_ends: dict[tuple[Any, Any, str, str], Environ] = {}
"""By client, server, scheme and version. Nobody writes to one of these: each request has a copy."""
