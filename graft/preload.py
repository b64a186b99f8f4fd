"""The libraries that every worker needs, imported once by Gunicorn's master before it forks.

Workers share their memory, and a new worker is there in a fraction of the time: when one was killed, the others are
alone for that long. Graft itself is one of them; the Flask app and the native routes are not: SIGHUP loads those anew.
A new version of a library takes a restart.
"""

from __future__ import annotations

import gc
import importlib
from contextlib import suppress

LIBRARIES = (
    "asgiref.sync",
    "click",
    "concurrent_log_handler",
    "elasticsearch",
    "filelock",
    "flask",
    "graft.application",
    "httptools",
    "jinja2",
    "lxml.etree",
    "orjson",
    "psutil",
    "pydantic_settings",
    "python_multipart",
    "pythonjsonlogger.json",
    "starlette.applications",
    "starlette.requests",
    "starlette.staticfiles",
    "tomlkit",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "uvloop",
    "werkzeug.routing",
)


def preload() -> None:
    """Import what is installed of ``LIBRARIES``, and have the garbage collector leave it alone. (master)

    Frozen objects are not looked at, so a collection in a worker does not copy the pages that it shares.
    """
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
