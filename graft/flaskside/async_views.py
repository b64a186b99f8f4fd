"""Flask's coroutine views: on which loop each runs, so that what works under other servers works, and more.

Flask runs each coroutine on a loop of its own, in a thread of its own, and throws both away. Two things follow. What
is bound to a thread is one request's alone: a scoped session, a lock that is held over an ``await``. And what is bound
to a loop breaks with the second request: every async client that an app makes once. Both shall work. So an app without
such clients has its views run as Flask does it (``request``); one that holds them, or turns out to leave connections
open behind a request, gets one loop for all, on which each request's steps still run in its own thread (``own``).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

from flask import Flask

from graft.flaskside import asgiref_private
from graft.flaskside.async_clients import held_clients, used_clients
from graft.flaskside.coroutines import CoroutineFunction, RequestLoopCall, ServerLoopCall, SharedLoopCall
from graft.flaskside.loading import flask_apps
from graft.flaskside.request_loops import RequestLoops, guard_what_is_shared
from graft.settings import LegacyLoop
from graft.threads.worker import current_job

log = logging.getLogger("graft.legacy")


class AsyncViews:
    """Where the coroutines of one mount run. ``holds`` counts, by view, how often one held the server's loop."""

    def __init__(self, mode: LegacyLoop = LegacyLoop.AUTO) -> None:
        self.mode = mode
        self.holds: Counter[str] = Counter()
        self._loops = RequestLoops()
        self._process = os.getpid()

    def install(self, wsgi_app: Any) -> list[Flask]:
        """Take over the coroutine views of every Flask app in ``wsgi_app``; returns these apps.

        An app with an ``async_to_sync`` of its own keeps it.
        """
        apps = list(flask_apps(wsgi_app))
        for sentence in asgiref_private.MISSING if apps else ():
            log.warning("%s", sentence)
        for app in apps:
            if type(app).async_to_sync is Flask.async_to_sync:
                app.async_to_sync = functools.partial(self._wrap, app)  # type: ignore[method-assign]
            else:
                log.info("%s runs its async views by an async_to_sync of its own", app.name)
        if apps and self.mode is LegacyLoop.AUTO:
            clients = {*held_clients(), *(name for app in apps for name in used_clients(app))}
            if clients:
                self.mode = LegacyLoop.OWN
                names = ", ".join(sorted(clients)[:5])
                log.info("Async views share one loop, as the legacy app has async clients: %s", names)
        if apps and self.mode is LegacyLoop.OWN:
            guard_what_is_shared()
        return apps

    def close(self, timeout: float | None = None) -> None:
        """End the loops beside the server's, if there are any."""
        self._loops.close(timeout)

    def _wrap(self, app: Flask, func: CoroutineFunction) -> Callable[..., Any]:
        return functools.partial(self._call, app, func)

    def _call(self, app: Flask, func: CoroutineFunction, /, *args: Any, **kwargs: Any) -> Any:
        if _on_a_loop():
            raise RuntimeError(
                "You cannot use AsyncToSync in the same thread as an async event loop - "
                "just await the async function directly."
            )
        if self._process != os.getpid():  # a fork has the loops, but not their threads
            self._loops, self._process = RequestLoops(), os.getpid()
        job = current_job()
        call = _is_teardown(app, func), func, args, kwargs
        if self.mode is LegacyLoop.OWN or (self.mode is LegacyLoop.AUTO and self._loops.shared is not None):
            return SharedLoopCall(self._loops.share(), job, *call).run()
        if job is None:  # a thread of the app's own, as in `flask shell` or its tests
            return Flask.async_to_sync(app, func)(*args, **kwargs)
        if self.mode is LegacyLoop.SERVER:
            return ServerLoopCall(self.holds, job, *call).run()
        return RequestLoopCall(self._loops, job, *call).run()


def _is_teardown(app: Flask, func: CoroutineFunction) -> bool:
    functions = (*app.teardown_appcontext_funcs, *chain.from_iterable(app.teardown_request_funcs.values()))
    return any(function is func for function in functions)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
