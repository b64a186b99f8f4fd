"""The WSGI app: ``/l/NUMBER``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    size = len(environ["wsgi.input"].read())
    number = environ["PATH_INFO"].rpartition("/")[2]
    start_response("200 OK", [("X-Number", number), ("X-Size", str(size)), ("Content-Length", "2")])
    return [b"ok"]
