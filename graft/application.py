"""The application: what gateway.py of Graft's own repository spells out, for projects that call ``graft.gateway()``.

A test holds the two together, statement by statement.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from graft.cli.serve import Program, guard, main
from graft.connection.forwarded import ForwardedHeaders
from graft.control.routes import control_plane
from graft.flaskside.side import LegacySide
from graft.observe import logs, telemetry
from graft.routing.errors import error_handlers
from graft.routing.frontdoor import FrontDoor
from graft.routing.openapi_pages import route_table
from graft.search.client import open_client
from graft.settings import Settings
from graft.switching.switching import Switching
from graft.tasks import Runner
from graft.threads.gc import frozen


def build(module: str, **overrides: Any) -> Starlette:
    """The gateway of the module that is called ``module``, with settings from the environment and ``overrides``."""
    with guard(module):
        settings = Settings.load(**overrides)
        legacy = LegacySide(settings)
        table = route_table(settings, legacy.rules)
        switching = Switching(settings, legacy)
        control = control_plane(settings, table, switching.state, switching.follower)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
        logs.configure(settings, legacy.log_fields)
        async with (
            open_client(settings) as elasticsearch,
            legacy.running(),
            Runner.open(settings) as tasks,
            table.running(legacy.app),
            switching.running(elasticsearch),
        ):
            with frozen():
                yield {"elasticsearch": elasticsearch, "legacy": legacy.context, "tasks": tasks}

    flask_app = Mount(settings.legacy_prefix, app=legacy.mount, name="legacy")
    app = Starlette(
        routes=[control, *table.routes(switching.app, legacy.around), flask_app],
        middleware=[
            Middleware(ForwardedHeaders, settings.forwarded_allow_ips, settings.forwarded, settings.allowed_hosts),
            *telemetry.middleware(),
            Middleware(FrontDoor, legacy=legacy.mount, legacy_has=legacy.has_path, user_of=legacy.user_of),
        ],
        exception_handlers=error_handlers(legacy.error_handlers),
        lifespan=lifespan,
    )
    return app


def serve_program(app: Starlette, overrides: Mapping[str, Any]) -> None:
    """Become the server of ``app``, the variable of that name in the program that runs: see ``graft.cli.serve``."""
    main(obj=Program(app, overrides))
