"""The class that speaks HTTP under Uvicorn: Graft's own, where it fits the Uvicorn and the httptools that are there."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from importlib.util import find_spec

log = logging.getLogger("graft")


def http_protocol() -> type[asyncio.Protocol]:
    """For ``uvicorn.Config(http=...)``. What a release of Uvicorn has moved costs speed, and the site stays up."""
    if find_spec("httptools") is None:
        return _of_uvicorn("h11_impl", "H11Protocol")
    try:
        from graft.connection import uvicorn_private

        moved = uvicorn_private.missing()
    except ImportError as error:
        moved = str(error)
    if moved is None:
        from graft.connection.protocol import Connection

        return Connection
    log.warning("This release of Uvicorn has no %s: its own HTTP class is served, which is slower", moved)
    return _of_uvicorn("httptools_impl", "HttpToolsProtocol")


def _of_uvicorn(module: str, name: str) -> type[asyncio.Protocol]:
    found: type[asyncio.Protocol] = getattr(import_module(f"uvicorn.protocols.http.{module}"), name)
    return found


HttpProtocol = http_protocol()
"""``uvicorn --http graft.connection.chosen:HttpProtocol``"""
