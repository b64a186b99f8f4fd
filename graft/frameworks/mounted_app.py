"""Any ASGI app that a native module mounts: Litestar, Django, FastMCP, Starlette, a folder of files."""

from __future__ import annotations

import sys
from collections.abc import Awaitable

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from graft.frameworks.hosted_app import HostedApp
from graft.routing.file_offers import with_files
from graft.routing.starlette_private import is_stock
from graft.types import ASGIApp, Receive, Scope, Send


class MountedApp:
    """What answers below ``mount``, called with the scope as it is in front of it. (event loop)

    The app sees what it would see in a Starlette app of its own: the mount's part of the path in ``root_path``, and
    the state that ``lifespan`` gave. The scope of the caller stays as it is, whatever the app puts into its own.
    """

    def __init__(self, mount: Mount, lifespan: HostedApp) -> None:
        self._mount = mount
        self._lifespan = lifespan
        self._app: ASGIApp = mount.app if is_stock(mount, "handle") else mount.handle
        if type(self._app) is StaticFiles:
            self._app = with_files(self._app)
        elif "fastapi" in sys.modules:
            from fastapi import FastAPI

            from graft.frameworks.fastapi_errors import raising_errors

            self._app = raising_errors(self._app) if isinstance(self._app, FastAPI) else self._app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        _, child = self._mount.matches(scope)
        inner = {**scope, **child}
        if state := self._lifespan.state:
            inner["state"] = {**scope.get("state", {}), **state}
        return self._app(inner, receive, send)
