"""What test_proxy_nginx.py serves behind Nginx: both sides tell how they see the request."""

from __future__ import annotations

import os

from starlette.middleware import Middleware
from werkzeug.middleware.proxy_fix import ProxyFix

from graft.connection.forwarded import ForwardedHeaders
from graft.settings import Settings
from tests.connection.test_forwarded import make_world

settings = Settings.load()
world = make_world(prefix=settings.legacy_prefix)
if "PROXY_FIX" in os.environ:
    world.app.wsgi_app = ProxyFix(world.app.wsgi_app, 1, 1, 1, 1, 1)  # type: ignore[method-assign]
app = world.asgi([Middleware(ForwardedHeaders, settings.forwarded_allow_ips, settings.forwarded)])
