"""The legacy side as a whole: the WSGI app of GRAFT_LEGACY, its mount, and what native routes have from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from flask import Flask
from flask.logging import default_handler
from starlette.types import ExceptionHandler

from graft.bridge.mount import CLOSING, LegacyMount
from graft.bridge.native_bodies import NativeBodies
from graft.connection import uvicorn_private
from graft.connection.signals import ending_by_return, handled_by_the_app
from graft.figures.runtime import sampling
from graft.flaskside import hooks, sessions
from graft.flaskside.error_pages import ErrorPages
from graft.flaskside.flask_private import private, require
from graft.flaskside.hosts import has_path_on_host
from graft.flaskside.legacy import Legacy
from graft.flaskside.loading import load, placed_apps
from graft.flaskside.request_context import NativeRule
from graft.flaskside.rules import LegacyRule, has_path, host_of, knows_hosts, legacy_rules, template
from graft.flaskside.users import UserIds
from graft.observe import logs
from graft.observe.sentry import reported_once
from graft.request_record import KEY, RequestRecord
from graft.routing.starlette_private import route_path
from graft.settings import Settings
from graft.threads.executor import LegacyExecutor
from graft.threads.pool import Pool
from graft.threads.starting import DefaultExecutor
from graft.threads.stuck_threads import HOPELESS, watching
from graft.types import ASGIApp, Receive, Scope, Send, Side

log = logging.getLogger("graft.legacy")

_FLASKS_FORMATTER = default_handler.formatter
MEND = (
    "Each got 503. GRAFT_LEGACY_QUEUE lets more of them wait, GRAFT_LEGACY_THREADS and more workers answer more at once"
)
MIRROR_THREADS = 4
MIRROR_QUEUE = 8


class LegacySide:
    """Made once, from the settings. ``app`` is the Flask app; None where GRAFT_LEGACY is another WSGI app.

    ``mount`` answers users; ``mirror`` is the same app for mirrored requests, on threads of its own, so that they never
    stand in a user's way. ``context`` is ``request.state.legacy``. Raises LegacyAppError, and SettingError where the
    installed Flask can't be worked with.
    """

    def __init__(self, settings: Settings) -> None:
        require()
        wsgi_app = load(settings.legacy)
        self._handled_signals = handled_by_the_app()
        self._settings = settings
        self.prefix = settings.legacy_prefix
        self._apps = placed_apps(wsgi_app, self.prefix)
        self.app: Flask | None = self._apps[0][1] if self._apps else None
        # Where the app answers: dispatchers may have it below a path of their own.
        self._at = self._apps[0][0] if self._apps else self.prefix
        self.mount = LegacyMount(
            wsgi_app,
            settings.legacy_threads,
            queue=settings.legacy_queue,
            timeout=settings.legacy_timeout,
            max_body=settings.max_body,
            loop=settings.legacy_loop,
            websockets=settings.legacy_websockets,
        )
        self.mount.pool.mend = MEND
        self.mirror = LegacyMount(
            wsgi_app, MIRROR_THREADS, queue=MIRROR_QUEUE, name="mirror", async_views=self.mount.async_views
        )
        self.threads = LegacyExecutor(self.mount.pool, settings.legacy_timeout)
        self.context = Legacy(self.app, self.threads, self._at)
        self.rules: tuple[LegacyRule, ...] = tuple(rule for path, app in self._apps for rule in legacy_rules(app, path))
        self._errors = ErrorPages(self.app, self.threads, self._at)
        self._users = UserIds(self.app, settings.log_user) if self.app is not None and settings.log_user else None

    @property
    def error_handlers(self) -> dict[Any, ExceptionHandler]:
        """For Starlette: errors of native routes look like the app's own."""
        return self._errors.handlers()

    @property
    def has_path(self) -> Callable[[str, Scope], bool] | None:
        """Tells whether the Flask app has a rule for a path, on the host of a scope; None where it can't be told."""
        return self._has_path if self.app is not None else None

    def _has_path(self, path: str, scope: Scope) -> bool:
        """Dispatchers give a request to the longest mount that its path is below."""
        below = [found for found in self._apps if path == found[0] or path.startswith(f"{found[0]}/")]
        at, app = max(below, key=lambda found: len(found[0]), default=(self.prefix, None))
        if app is None or path == at:
            return app is not None
        return has_path_on_host(app, scope, path, at) if knows_hosts(app) else has_path(app, path, at)

    @property
    def user_of(self) -> Callable[[Any], str | None] | None:
        """Tells the user id of an ASGI scope for the access record; None where GRAFT_LOG_USER asks for none."""
        return self._users.of if self._users is not None else None

    def log_fields(self) -> dict[str, str]:
        """For a log line of the Flask app: the side, the rule and the user of the request that it is written in."""
        context = private.current_context()
        if context is None:
            return {}
        rule, user = context.request.url_rule, self._users.here() if self._users is not None else None
        record: RequestRecord | None = context.request.environ.get("asgi.scope", {}).get(KEY)
        fields = {"side": str(record.side if record is not None else Side.LEGACY)}
        if rule is not None:
            path = rule.rule if isinstance(rule, NativeRule) else self._at + template(rule.rule)
            fields["route"] = f"{context.request.method} {host_of(rule)}{path}"
        return fields if user is None else {**fields, "user": user}

    def around(self, native: ASGIApp, *rules: LegacyRule, checks: bool = False) -> ASGIApp:
        """``native`` with its body within limits and, before a Flask app, the app's session; with ``checks`` also
        behind the app's before_request and after_request.

        ``rules`` are the one that a switched route twins, or all that lie beneath a mount: of several Flask apps there,
        each request gets the session and the checks of the one that has its path.
        """
        if self.app is None:
            return NativeBodies(native, self.mount.limits)
        owners = [(prefix, app) for prefix, app in self._apps if any(rule.rule.map is app.url_map for rule in rules)]
        by_prefix: dict[str, ASGIApp] = {}
        for prefix, app in owners or [(self._at, self.app)]:
            own = [rule.rule for rule in rules if rule.rule.map is app.url_map]
            inner = sessions.wrap(native, app, self.threads, prefix)
            by_prefix[prefix] = hooks.wrap(inner, app, self.threads, rules=own, enabled=checks, prefix=prefix)
        hooked = _ByPrefix(by_prefix) if len(by_prefix) > 1 else by_prefix.popitem()[1]
        return NativeBodies(hooked, self.mount.limits)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For the lifespan: at its end the threads end after their requests, and then the app's ``atexit`` functions
        run. (main thread, where signals are heard)"""
        if default_handler.formatter is _FLASKS_FORMATTER or logs.is_adopted(default_handler):
            # What Flask itself gives app.logger where the app has set up nothing: its lines bear the request id too.
            logs.adopt(default_handler, self._settings, self.log_fields)
        for mount in (self.mount, self.mirror):  # by now the native routes are imported too, which may use it
            mount.app = reported_once(mount.app)
        uvicorn_private.draw_apart()
        pools = (*self.threads.pools, self.mirror.pool)
        asyncio.get_running_loop().set_default_executor(DefaultExecutor(thread_name_prefix="asyncio"))
        with ending_by_return(self._handled_signals):
            async with self._pools(pools):
                yield

    @asynccontextmanager
    async def _pools(self, pools: tuple[Pool, ...]) -> AsyncIterator[None]:
        stuck = watching(self.mount.pool, self._settings.legacy_stuck, self._settings.data)
        async with sampling(pools), stuck as watch:
            try:
                yield
            finally:
                closing = HOPELESS if watch.leaves else CLOSING
                ended = await asyncio.gather(*(pool.aclose(closing) for pool in pools))
                await self.mount.aclose(closing)  # the loop of its async views
                if left := [pool.name for pool, has_ended in zip(pools, ended, strict=True) if not has_ended]:
                    log.error("threads still work after %s s, they are left behind: %s", closing, ", ".join(left))


class _ByPrefix:
    """One subtree over several Flask apps: the app with the longest prefix of the path is the one that has it."""

    def __init__(self, by_prefix: dict[str, ASGIApp]) -> None:
        self._by_prefix = sorted(by_prefix.items(), key=lambda found: -len(found[0]))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = route_path(scope)
        apps = (app for prefix, app in self._by_prefix if path == prefix or path.startswith(f"{prefix}/"))
        return next(apps, self._by_prefix[-1][1])(scope, receive, send)
