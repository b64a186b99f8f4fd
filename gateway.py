"""The whole shape: native Starlette routes in front, the untouched Flask app under them, one Elasticsearch client.

Run it with ``gunicorn gateway:app -k uvicorn.workers.UvicornWorker``, ``uvicorn gateway:app`` or ``python gateway.py``.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from graft.cli.serve import guard, main
from graft.control.health import checks
from graft.control.routes import control_routes
from graft.control.token import admin_token
from graft.legacy.loading import load
from graft.legacy.mount import LegacyMount
from graft.legacy.rules import path_lookup, rules_of
from graft.observe import logs
from graft.routing.errors import error_handlers
from graft.routing.frontdoor import FrontDoor
from graft.routing.native import discover
from graft.routing.table import RouteTable
from graft.search.client import open_client
from graft.settings import Settings
from graft.switching.switchboard import Switching
from graft.switching.watcher import Watcher

with guard(__name__):
    settings = Settings.load()
    legacy = LegacyMount(
        load(settings.legacy),
        settings.legacy_threads,
        queue=settings.legacy_queue,
        timeout=settings.legacy_timeout,
        max_body=settings.max_body,
    )
    table = RouteTable(discover(settings.native), rules_of(legacy.app))
    switching = Switching(Watcher(settings.switches), legacy)
    control = control_routes(admin_token(settings), checks(switching.watcher))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    logs.configure(settings)
    async with open_client(settings) as elasticsearch, switching.watcher, aclosing(legacy):
        yield {"elasticsearch": elasticsearch}


app = Starlette(
    routes=[control, *table.routes(switching.switched), Mount("/", app=legacy, name="legacy")],
    middleware=[Middleware(FrontDoor, legacy=legacy, legacy_has=path_lookup(legacy.app))],
    exception_handlers=error_handlers(),
    lifespan=lifespan,
)

if __name__ == "__main__":
    main()
