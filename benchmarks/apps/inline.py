"""The limit of an ASGI server in Python around a Flask app: Flask is called on the event loop itself.

Nobody may serve an app like this, as one view that waits makes everybody wait. But whatever hands a request to a thread
and back costs more than not doing so, so nothing that runs Flask under Uvicorn can be much quicker than this. Only what
PEP 3333 asks for, for requests without a body.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from benchmarks.apps.legacy import app as flask_app


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await _http(scope, send)
    else:
        await _lifespan(receive, send)


async def _http(scope: Scope, send: Send) -> None:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        started[:] = [status, headers]
        return _refuse

    answer = flask_app(_environ(scope), start_response)
    try:
        body = b"".join(answer)
    finally:
        close = getattr(answer, "close", None)
        if close is not None:
            close()
    status, headers = started
    await send(
        {
            "type": "http.response.start",
            "status": int(status[:3]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _refuse(data: bytes) -> object:
    raise NotImplementedError("no view here uses write()")


def _environ(scope: Scope) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        environ["HTTP_" + name.decode("latin-1").upper().replace("-", "_")] = value.decode("latin-1")
    return environ


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
