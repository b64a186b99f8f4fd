"""A Flask app that does everything that a view should not, over the site's own."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request

from tests.deploy.site.legacy import app as site


class BreakingTeardown(Exception):
    """Raised when a request is over."""


@site.get("/exit")
def leave() -> str:
    sys.exit(3)


@site.get("/interrupt")
def interrupt() -> str:
    raise KeyboardInterrupt


@site.get("/memory")
def memory() -> str:
    raise MemoryError


@site.get("/recursion")
def recursion() -> str:
    return recursion()


@site.get("/half")
def half() -> Response:
    def produce() -> Iterator[str]:
        yield "x" * 100_000
        raise RuntimeError("half-way through the stream")

    return Response(produce(), mimetype="text/plain")


@site.get("/segfault")
def segfault() -> str:
    ctypes.string_at(0)
    return "survived"


@site.get("/gone")
def gone() -> str:
    os._exit(1)


@site.get("/teardown")
def teardown() -> str:
    return "answered"


@site.teardown_request
def break_after(error: BaseException | None) -> None:
    if request.path == "/teardown":
        raise BreakingTeardown("in teardown")


@site.get("/disk")
def disk() -> str:
    with open("/dev/full", "w") as file:
        file.write("x" * 10_000)
    return "written"


@site.get("/hang")
def hang() -> str:
    time.sleep(3)
    return "late"


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """The Flask app, and paths that break PEP 3333."""
    path = environ["PATH_INFO"]
    if path == "/wsgi/nothing":
        return []
    if path == "/wsgi/none":
        start_response("200 OK", [])
        return None
    if path == "/wsgi/text":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return ["text, not bytes"]
    if path == "/wsgi/header":
        start_response("200 OK", [("X", "a\r\nSet-Cookie: evil=1")])
        return [b"x"]
    if path == "/wsgi/status":
        start_response("abc", [])
        return [b"x"]
    if path == "/wsgi/length":
        start_response("200 OK", [("Content-Length", "100")])
        return [b"short"]
    return site(environ, start_response)


flask_app: Flask = site
