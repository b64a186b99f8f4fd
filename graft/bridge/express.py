"""The express way through the mount: an ordinary request without a task of its own and without ASGI messages. (loop)

Most requests have all of their body when they begin, and an answer in one piece a moment later: for those there is
nothing to await. They go to a worker thread from the connection's own call, and their answer is written when the thread
says that it is there. Whatever is not so simple goes on in a task, on an ``Exchange``, from where it stands: a stream,
an error, a client that does not read, a view that takes longer than PATIENCE. So there is one way for each of these.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from graft.bridge.body_headers import body_headers
from graft.bridge.environ import build_environ
from graft.bridge.exchange import SMALL_BODY, WATCH_AFTER, Exchange, full
from graft.bridge.refused import Refused
from graft.bridge.wsgi_call import WSGIApp, WSGICall
from graft.observe.access import AccessRecord, UserOf
from graft.threads.pool import PoolFull
from graft.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from graft.bridge.mount import LegacyMount
    from graft.connection.cycle import Cycle

PATIENCE = WATCH_AFTER
"""Seconds after which a request goes on in a task: who waits for so long is watched, and has a time limit."""


Follow = Callable[["Cycle", AccessRecord, ASGIApp], None]
"""Has ``app`` answer the request in a task, with everything that stands around an app."""


class Express:
    """The requests of one mount that are on the express way. ``finished`` closes the record of one."""

    def __init__(self, mount: LegacyMount, follow: Follow, user_of: UserOf | None) -> None:
        self.mount = mount
        self.follow = follow
        self.user_of = user_of
        self._running: dict[ExpressRequest, None] = {}  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None
        timeout = mount.limits.timeout
        self._patience = PATIENCE if timeout is None else min(PATIENCE, timeout / 2)

    def begin(self, cycle: Cycle, access: AccessRecord) -> bool:
        """False, with nothing done, where the request is none for this way."""
        mount, scope = self.mount, access.scope
        pool, limits = mount.pool, mount.limits
        if cycle.more_body or pool.full:
            return False
        try:
            headers = body_headers(scope, limits.max_body)
        except Refused:
            return False
        if headers is not None and (headers.waits or headers.length is None or headers.length > SMALL_BODY):
            return False
        environ = build_environ(scope)
        environ["wsgi.input"] = io.BytesIO(cycle.whole_body() if headers is not None else b"")
        context = cycle.context()
        context.run(access.enter)
        call = WSGICall(cast(WSGIApp, mount.app), environ, pool.scheduler(), limits.window, None, context)
        request = ExpressRequest(self, cycle, access, call)
        call.channel.call_at_arrival(request.arrived)
        call.sends_files = cycle.send_file is not None
        try:
            pool.submit(call)
        except PoolFull:
            call.channel.call_at_arrival(None)
            self.follow(cycle, access, full())
            return True
        self._running[request] = None
        if self._timer is None:
            self._timer = call.scheduler.loop.call_later(self._patience, self._look)
        return True

    def forget(self, request: ExpressRequest) -> None:
        self._running.pop(request, None)

    def _look(self) -> None:
        """Who is here for too long goes on in a task."""
        self._timer = None
        now = monotonic()
        late = []
        for request in self._running:
            left = request.began + self._patience - now
            if left > 0:
                self._timer = asyncio.get_running_loop().call_later(left, self._look)
                break
            late.append(request)
        for request in late:
            request.go_on_in_a_task()


class ExpressRequest:
    """One request on the express way. All of it runs on the loop."""

    __slots__ = ("_access", "_call", "_cycle", "_express", "began")

    def __init__(self, express: Express, cycle: Cycle, access: AccessRecord, call: WSGICall) -> None:
        self._express = express
        self._cycle = cycle
        self._access = access
        self._call = call
        self.began = monotonic()

    def arrived(self) -> None:
        """The thread has the whole answer, or its beginning, or an error."""
        call, access = self._call, self._access
        channel = call.channel
        whole = channel.ended and channel.failure is None and channel.head is not None and channel.file is None
        if not (whole and self._cycle.can_write(channel.produced) and access.may_send):
            self.go_on_in_a_task()
            return
        assert channel.head is not None
        self._express.forget(self)
        try:
            body = channel.chunks[0] if len(channel.chunks) == 1 else b"".join(channel.chunks)
            access.send(channel.head)
            access.send({"type": "http.response.body", "body": body})
        except Exception as error:
            self._express.follow(self._cycle, access, _raising(error))
            return
        channel.call_at_app_close(self._close)

    def _close(self) -> None:
        call, access = self._call, self._access
        call.release()
        if call.rule is not None:
            access.request.legacy_rule = call.rule
        access.close(self._express.user_of)

    def go_on_in_a_task(self) -> None:
        express, call = self._express, self._call
        express.forget(self)
        call.channel.call_at_arrival(None)
        self._cycle.whole_body()  # also an empty one: what is received from now on is that the client leaves
        waited = monotonic() - self.began

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            mount = express.mount
            exchange = Exchange(mount.pool, mount.limits, scope, receive, send)
            await exchange.run(cast(WSGIApp, mount.app), call, waited)

        express.follow(self._cycle, self._access, answer)


def _raising(error: Exception) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app
