"""The routes under ``/_graft``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route

from graft.control.api import Api
from graft.control.auth import AccessControl
from graft.control.health import Check, Readiness, checks, health
from graft.control.logins import Logins
from graft.control.pages import Pages, SecurityHeaders
from graft.control.token import admin_token
from graft.control.tokens import Role, Tokens, named_tokens
from graft.error_answers import error_response
from graft.figures.reader import exposition
from graft.operations.state import Follower, State
from graft.routing.starlette_private import route_path
from graft.routing.table import RouteTable
from graft.settings import Settings
from graft.types import Scope

PREFIX = "/_graft"


def control_plane(settings: Settings, table: RouteTable, state: State, follower: Follower) -> Mount:
    """The control plane of a gateway. Raises SettingError when there is no admin token and none can be kept."""
    tokens = Tokens(admin_token(settings), named_tokens(settings.admin_tokens))
    logins = Logins(tokens, settings.data / "ended-logins")
    return control_routes(tokens, logins, checks(follower), Api(settings, table, state, follower))


def control_routes(tokens: Tokens, logins: Logins, checks: Mapping[str, Check], api: Api | None = None) -> Mount:
    """All of the control plane. What reveals state is closed to anyone without one of ``tokens``, what changes it to
    anyone but operators."""
    access = AccessControl(tokens, logins)
    routes: list[BaseRoute] = [
        Route("/health", health, name="health"),
        Route("/ready", Readiness(checks).__call__, name="ready"),
        Route("/metrics", access.closed(_metrics), name="metrics"),
        Route("/login", access.login, methods=["POST"], name="login"),
        Route("/logout", access.logout, methods=["POST"], name="logout"),
        *(_of_api(api, access) if api is not None else ()),
        Route("/", (pages := Pages()).__call__, name="dashboard"),
        Route("/{name}", pages.__call__, name="asset"),
    ]
    middleware = [Middleware(SecurityHeaders), Middleware(ExceptionMiddleware, handlers={HTTPException: _refusal})]
    return _Prefix(PREFIX, routes=routes, name="graft", middleware=middleware)


def _of_api(api: Api, access: AccessControl) -> list[Route]:
    return [
        Route("/api/routes", access.closed(api.routes), name="routes"),
        Route("/api/routes", access.closed(api.change, Role.OPERATOR), methods=["PATCH"], name="change"),
        Route("/api/rollback", access.closed(api.rollback, Role.OPERATOR), methods=["POST"], name="rollback"),
        Route("/api/figures", access.closed(api.figures), name="figures"),
        Route("/api/promotion", access.closed(api.promotion), name="promotion"),
        Route("/api/promotion", access.closed(api.promote, Role.OPERATOR), methods=["POST"], name="promote"),
        Route("/api/advice", access.closed(api.advice), name="advice"),
        Route("/api/differences", access.closed(api.differences), name="differences"),
        Route("/api/differences", access.closed(api.clear, Role.OPERATOR), methods=["DELETE"], name="clear"),
        Route("/api/history", access.closed(api.history), name="history"),
    ]


class _Prefix(Mount):
    """A mount that takes ``/_graft`` too, and sends it on to ``/_graft/``."""

    only_below_path = True  # for the router: it need not be asked about other paths

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and route_path(scope) == self.path:
            root_path = scope.get("root_path", "")
            child: dict[str, Any] = {
                "path_params": dict(scope.get("path_params", {})),
                "app_root_path": scope.get("app_root_path", root_path),
                "root_path": root_path + self.path,
                "endpoint": self.app,
            }
            return Match.FULL, child
        return super().matches(scope)


async def _refusal(request: Request, error: Exception) -> Response:
    """What the routes refuse, in the JSON error shape."""
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, error.detail, headers=error.headers)


async def _metrics(request: Request) -> Response:
    text, content_type = await exposition()
    return Response(text, media_type=content_type)
