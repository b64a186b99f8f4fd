"""A WSGI app with an answer of each kind that PEP 3333 allows, and of some that it does not: one a path.

``ANSWERS`` are the paths. It is served by Gunicorn and by Graft, and what a client gets is compared.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

Environ = dict[str, Any]
Answer = Callable[[Environ, Any], Iterable[bytes]]

ANSWERS: dict[str, Answer] = {}
FILE = b"0123456789" * 20_000


def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return ANSWERS[environ["PATH_INFO"].strip("/")](environ, start_response)


def answer(function: Answer) -> Answer:
    ANSWERS[function.__name__.strip("_").replace("_", "-")] = function
    return function


def says(name: str, status: str, headers: Iterable[tuple[Any, Any]], body: Callable[[], Iterable[bytes]]) -> None:
    def simple(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response(status, list(headers))
        return body()

    ANSWERS[name] = simple


class Sequence:
    """An iterable by ``__getitem__`` alone: no length, no ``__iter__``, no ``close``."""

    def __getitem__(self, index: int) -> bytes:
        return (b"one ", b"two ", b"three")[index]


TEXT = ("Content-Type", "text/plain")
says("plain", "200 OK", [TEXT, ("Content-Length", "5")], lambda: [b"hello"])
says("reason", "299 Odd Reason", [TEXT, ("Content-Length", "5")], lambda: [b"hello"])
says("other-reason", "200 Fine", [TEXT], lambda: [b"hello"])
says("latin-reason", "200 D\xe9j\xe0 vu", [TEXT], lambda: [b"hello"])
says("long-reason", "404 NOT FOUND", [TEXT], lambda: [b"hello"])
says("high-status", "799 Beyond", [TEXT, ("Content-Length", "5")], lambda: [b"hello"])
says("no-reason", "200", [TEXT, ("Content-Length", "5")], lambda: [b"hello"])
says("length-without-body", "200 OK", [TEXT, ("X-Accel-Redirect", "/f"), ("Content-Length", "5000")], lambda: [])
says("length-with-empty-item", "200 OK", [("X-Sendfile", "/f"), ("Content-Length", "5000")], lambda: [b""])
says("longer", "200 OK", [TEXT, ("Content-Length", "3")], lambda: [b"abcdef"])
says("longer-in-parts", "200 OK", [TEXT, ("Content-Length", "3")], lambda: iter([b"ab", b"cdef", b"gh"]))
says("longer-than-nothing", "200 OK", [TEXT, ("Content-Length", "0")], lambda: [b"abcdef"])
says("shorter", "200 OK", [TEXT, ("Content-Length", "9")], lambda: [b"abc"])
says("shorter-in-parts", "200 OK", [TEXT, ("Content-Length", "9")], lambda: iter([b"abc", b"de"]))
says("empty-list", "200 OK", [TEXT], lambda: [])
says("empty-generator", "200 OK", [TEXT], lambda: iter(()))
says("parts", "200 OK", [TEXT], lambda: iter([b"abc", b"", b"def"]))
says("list-of-parts", "200 OK", [TEXT], lambda: [b"abc", b"def"])
says("sequence", "200 OK", [TEXT], Sequence)  # type: ignore[arg-type]
says("bytes", "200 OK", [TEXT], lambda: b"hello")  # type: ignore[arg-type,return-value]
says("no-content", "204 No Content", [("X-A", "1")], lambda: [b"body"])
says("no-content-with-length", "204 No Content", [("Content-Length", "4")], lambda: [b"body"])
says("not-modified", "304 Not Modified", [("ETag", '"1"')], lambda: [])
says("not-modified-with-length", "304 Not Modified", [("ETag", '"1"'), ("Content-Length", "40")], lambda: [])
says("not-modified-with-body", "304 Not Modified", [("Content-Length", "4")], lambda: [b"body"])
says("reset-content", "205 Reset Content", [], lambda: [])
says("server-and-date", "200 OK", [("Server", "mine"), ("Date", "Tue, 01 Jan 2030 00:00:00 GMT")], lambda: [b"x"])
says("cookies", "200 OK", [("Set-Cookie", f"c{number}={number}; Path=/") for number in range(40)], lambda: [b"x"])
says("odd-case", "200 OK", [("cOnTeNt-TyPe", "text/plain"), ("X-UPPER", "1"), ("x_low", "2")], lambda: [b"x"])
says("odd-length-case", "200 OK", [("CONTENT-LENGTH", "1")], lambda: [b"x"])
says("empty-value", "200 OK", [("X-Empty", ""), ("X-Blank", "   "), ("X-Tab", "a\tb")], lambda: [b"x"])
says("latin-value", "200 OK", [("X-Name", "Bj\xf6rk")], lambda: [b"x"])
says("wide-value", "200 OK", [("X-Name", "\u20ac")], lambda: [b"x"])
says("number-value", "200 OK", [("X-Count", 7)], lambda: [b"x"])
says("bytes-value", "200 OK", [("X-Raw", b"raw")], lambda: [b"x"])
says("bytes-name", "200 OK", [(b"X-Raw", "raw")], lambda: [b"x"])
says("split-value", "200 OK", [("X-A", "a\r\nX-B: b")], lambda: [b"x"])
says("bad-name", "200 OK", [("X A", "a")], lambda: [b"x"])
says("spaces-around-length", "200 OK", [("Content-Length", " 5 ")], lambda: [b"hello"])
says("length-no-number", "200 OK", [("Content-Length", "five")], lambda: [b"hello"])
says("hop-by-hop", "200 OK", [("Keep-Alive", "5"), ("Transfer-Encoding", "chunked"), ("TE", "x")], lambda: [b"hello"])
says("connection-close", "200 OK", [("Connection", "close")], lambda: [b"hello"])
says("text-item", "200 OK", [TEXT], lambda: ["text"])  # type: ignore[list-item]
says("bytearray-item", "200 OK", [TEXT], lambda: [bytearray(b"hello")])
says("memoryview-item", "200 OK", [TEXT], lambda: [memoryview(b"hello")])  # type: ignore[list-item]
says("large", "200 OK", [TEXT], lambda: [FILE])
says("error-in-time", "500 INTERNAL SERVER ERROR", [TEXT], lambda: [b"sorry"])
for status in (200, 304, 404, 500):
    says(f"status-{status}-empty", f"{status} X", [], lambda: [])


@answer
def _write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", [TEXT])
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three"]


@answer
def _write_alone(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "4")])(b"one ")
    return []


@answer
def _write_too_much(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "4")])(b"one two")
    return [b"three"]


@answer
def _write_empty_first(environ: Environ, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", [TEXT])
    write(b"")
    return [b"three"]


@answer
def _starts_late(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("201 Created", [TEXT])
    yield b"made"


@answer
def _starts_after_empty_item(environ: Environ, start_response: Any) -> Iterator[bytes]:
    yield b""
    start_response("201 Created", [TEXT])
    yield b"made"


@answer
def _starts_never(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return [b"body"]


@answer
def _starts_never_without_body(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return []


@answer
def _starts_twice(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    start_response("200 OK", [TEXT])
    return [b"body"]


@answer
def _starts_again(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("X-First", "1"), ("Content-Length", "1")])
    try:
        raise ValueError("first")
    except ValueError:
        start_response("502 Worse", [("X-Second", "2")], sys.exc_info())
    return [b"second"]


@answer
def _starts_again_too_late(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "9")])
    yield FILE[:3]
    yield from _pause(environ)
    try:
        raise ValueError("late")
    except ValueError:
        start_response("500 Worse", [TEXT], sys.exc_info())


@answer
def _raises(environ: Environ, start_response: Any) -> Iterable[bytes]:
    raise ValueError("at once")


@answer
def _raises_after_start(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    raise ValueError("after start_response")


@answer
def _raises_in_the_first_step(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    raise ValueError("before the first item")
    yield b"never"


@answer
def _raises_in_a_stream(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b"first"
    yield from _pause(environ)
    raise ValueError("after the first item")


@answer
def _raises_in_a_stream_with_length(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT, ("Content-Length", "100")])
    yield b"first"
    yield from _pause(environ)
    raise ValueError("after the first item")


def _pause(environ: Environ) -> Iterator[bytes]:
    """Long enough for what was sent to have left."""
    import time

    time.sleep(0.05)
    yield b""


@answer
def _file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return environ["wsgi.file_wrapper"](io.BytesIO(FILE), 1000)


@answer
def _file_by_its_parts(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """As a middleware that looks into the wrapper."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    wrapper = environ["wsgi.file_wrapper"](io.BytesIO(FILE), 10)
    told = f"{type(wrapper.filelike).__name__} {wrapper.blksize} {hasattr(wrapper, 'close')} "
    return [told.encode(), wrapper[0], wrapper[0]]


@answer
def _real_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


@answer
def _part_of_a_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    file = open(__file__, "rb")  # noqa: SIM115 - the server closes it
    file.seek(10)
    start_response("200 OK", [TEXT, ("Content-Length", "100")])
    return environ["wsgi.file_wrapper"](file)


@answer
def _file_in_text(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return environ["wsgi.file_wrapper"](io.StringIO("text"))


@answer
def _pops_script_name(environ: Environ, start_response: Any) -> Iterable[bytes]:
    environ.pop("SCRIPT_NAME")
    environ.pop("PATH_INFO")
    environ.pop("REQUEST_METHOD")
    raise ValueError("with an emptied environ")


@answer
def _clears_environ(environ: Environ, start_response: Any) -> Iterable[bytes]:
    environ.clear()
    start_response("200 OK", [TEXT])
    return [b"cleared"]


@answer
def _generator_environ_cleared(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [TEXT])
    yield b"one"
    environ.clear()
    yield b"two"


@answer
def _environ(environ: Environ, start_response: Any) -> Iterable[bytes]:
    own = ("gunicorn.", "asgi.", "graft.", "wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "werkzeug.")
    kept = {key: value for key, value in environ.items() if not key.startswith(own)}
    changing = ("REMOTE_PORT", "SERVER_PORT", "HTTP_HOST", "wsgi.early_hints", "wsgi.multithread", "REQUEST_URI",
                "wsgi.multiprocess", "SERVER_SOFTWARE")  # fmt: skip
    shown = {key: value for key, value in kept.items() if key not in changing}
    shown["types"] = {key: type(value).__name__ for key, value in kept.items() if key not in changing[3:]}
    shown["software"] = bool(environ["SERVER_SOFTWARE"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(shown, sort_keys=True, default=str).encode()]


@answer
def _echo(environ: Environ, start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [TEXT])
    return [environ["REQUEST_METHOD"].encode(), b" ", body]


@answer
def _url(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return [urlsplit(environ["RAW_URI"]).query.encode("latin-1")]
