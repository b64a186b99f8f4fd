"""The routes under ``/_graft``."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from graft.control.auth import guard
from graft.control.health import Check, Readiness, health
from graft.observe import metrics


def control_routes(token: str, checks: Mapping[str, Check]) -> Mount:
    """All of the control plane. What reveals or changes state is closed to anyone without ``token``."""
    closed = guard(token)
    routes: list[BaseRoute] = [
        Route("/health", health, name="health"),
        Route("/ready", Readiness(checks).__call__, name="ready"),
        Route("/metrics", closed(_metrics), name="metrics"),
    ]
    return Mount("/_graft", routes=routes, name="graft")


async def _metrics(request: Request) -> Response:
    text, content_type = metrics.exposition()
    return Response(text, media_type=content_type)
