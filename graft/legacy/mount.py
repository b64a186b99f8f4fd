"""LegacyMount: the WSGI app under the event loop."""

from __future__ import annotations

from a2wsgi import WSGIMiddleware


class LegacyMount(WSGIMiddleware):
    """a2wsgi's bridge."""
