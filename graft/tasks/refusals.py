"""When a task is not taken. Each reason is also a werkzeug HTTPException: a Flask view that lets it pass gives 503."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler
from werkzeug.exceptions import ServiceUnavailable

from graft.error_answers import error_response
from graft.errors import GraftError


class TaskRefused(GraftError, ServiceUnavailable):
    """The root of the reasons for which ``tasks.start`` takes no task."""

    error_code = "tasks_unavailable"

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message, retry_after=retry_after)

    def __str__(self) -> str:
        return str(self.description)


class TasksFull(TaskRefused):
    """As many tasks run in this worker as GRAFT_TASKS_LIMIT allows."""

    error_code = "too_many_tasks"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} background tasks run here already, which is the limit. Try again soon.", 5)


class TasksClosed(TaskRefused):
    """This process runs no tasks: it is shutting down, or no gateway runs in it."""

    error_code = "tasks_closed"


async def refused(request: Request, error: Exception) -> Response:
    """A native route that let the refusal pass: 503 in the error shape, with Retry-After."""
    assert isinstance(error, TaskRefused)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    return error_response(503, str(error), error.error_code, headers)


exception_handlers: dict[type[Exception], ExceptionHandler] = {TaskRefused: refused}
"""For ``Starlette(exception_handlers=...)``."""
