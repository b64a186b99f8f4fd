"""What a native route's exception becomes, where the app says nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from elasticsearch import ApiError, TransportError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from graft import tasks
from graft.error_answers import error_response
from graft.errors import ServerMismatch
from graft.search.client import explain, reason

log = logging.getLogger("graft")


def error_handlers(others: Mapping[Any, ExceptionHandler]) -> dict[Any, ExceptionHandler]:
    """Starlette's ``exception_handlers``: ``others``, and 503 in the JSON error shape for search that is
    down and for tasks that are too many."""
    return {**others, **tasks.exception_handlers, TransportError: _search, ApiError: _search, ServerMismatch: _search}


async def _search(request: Request, error: Exception) -> Response:
    problem = explain(error)
    if problem is None:  # the route asked for something wrong: its own fault
        raise error
    client = getattr(request.state, "elasticsearch", None)  # none where no lifespan ran
    log.warning("%s: %s", problem.code, reason(error, client) if client is not None else error)
    return error_response(problem.status, problem.message, problem.code, headers={"retry-after": "5"})
