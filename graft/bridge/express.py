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

from graft.bridge.body_headers import USUALLY_WITHOUT, body_headers
from graft.bridge.environ import Environ, build_environ
from graft.bridge.exchange import SMALL_BODY, WATCH_AFTER, Exchange, full
from graft.bridge.refused import Refused
from graft.bridge.wsgi_call import WSGIApp, WSGICall
from graft.observe.access import AccessRecord, UserOf
from graft.threads.pool import PoolFull
from graft.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from contextvars import Context

    from graft.bridge.mount import LegacyMount
    from graft.connection.cycle import Cycle

PATIENCE = WATCH_AFTER
"""Seconds after which a request goes on in a task: who waits for so long is watched, and has a time limit."""


Follow = Callable[["Cycle", AccessRecord, ASGIApp], None]
"""Has ``app`` answer the request in a task, with everything that stands around an app."""


class Express:
    """The requests of one mount that are on the express way."""

    def __init__(self, mount: LegacyMount, follow: Follow, user_of: UserOf | None) -> None:
        self.mount = mount
        self.follow = follow
        self.user_of = user_of
        self.running: dict[ExpressCall, None] = {}  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None
        timeout = mount.limits.timeout
        self._patience = PATIENCE if timeout is None else min(PATIENCE, timeout / 2)

    def begin(self, cycle: Cycle, access: AccessRecord) -> bool:
        """False, with nothing done, where the request is none for this way."""
        if cycle.more_body:
            return False
        mount, scope = self.mount, access.scope
        limits = mount.limits
        if cycle.is_plain and scope["method"] in USUALLY_WITHOUT:
            body = b""
        else:
            try:
                headers = body_headers(scope, limits.max_body)
            except Refused:
                return False
            if headers is not None and (headers.waits or headers.length is None or headers.length > SMALL_BODY):
                return False
            body = b"" if headers is None else cycle.whole_body()
        call: ExpressCall | None = None
        try:
            environ = build_environ(scope)
            environ["wsgi.input"] = io.BytesIO(body)
            context = cycle.context()
            context.run(access.enter)
            call = ExpressCall(self, cycle, access, environ, context)
            mount.pool.submit(call)
        except Exception as error:  # raised from here it would end the connection, and those who wait on it
            if call is not None:
                call.give_up()
            self.follow(cycle, access, full() if isinstance(error, PoolFull) else _raising(error))
            return True
        self.running[call] = None
        if self._timer is None:
            self._timer = call.scheduler.loop.call_later(self._patience, self._look)
        return True

    def _look(self) -> None:
        """Who is here for too long goes on in a task."""
        self._timer = None
        now = monotonic()
        late = []
        for call in self.running:
            left = call.began + self._patience - now
            if left > 0:
                self._timer = call.scheduler.loop.call_later(left, self._look)
                break
            late.append(call)
        for call in late:
            try:
                call.go_on_in_a_task()
            except Exception as error:  # those behind it are other requests'
                call.scheduler.loop.call_exception_handler(
                    {"message": f"{call.name} can't go on in a task", "exception": error}
                )


class ExpressCall(WSGICall):
    """The call of the app for one request on the express way. But for ``run``, all of it is the loop's."""

    def __init__(
        self, express: Express, cycle: Cycle, access: AccessRecord, environ: Environ, context: Context
    ) -> None:
        mount = express.mount
        app: WSGIApp = mount.app  # type: ignore[assignment]  # a2wsgi has a type of its own for it
        super().__init__(app, environ, mount.pool.scheduler(), mount.limits.window, None, context)
        self._express = express
        self._cycle = cycle
        self._access = access
        self.began = monotonic()
        self.sends_files = cycle.sends_files
        self.channel.call_at_arrival(self._arrived)

    def _arrived(self) -> None:
        """The thread has the whole answer, or its beginning, or an error."""
        access, channel = self._access, self.channel
        head = channel.head
        whole = channel.ended and channel.failure is None and head is not None and channel.file is None
        if not (whole and self._cycle.can_write(channel.produced) and access.may_send):
            self.go_on_in_a_task()
            return
        assert head is not None
        self._express.running.pop(self, None)
        chunks = channel.chunks
        try:
            self._cycle.respond(access.head(head), chunks[0] if len(chunks) == 1 else b"".join(chunks))
        except Exception as error:
            self._express.follow(self._cycle, access, _raising(error))
            return
        if channel.app_closed:
            self._close()
        else:
            channel.call_at_app_close(self._close)

    def give_up(self) -> None:
        """Another answer is given. It may be in the queue, where nothing else would find it."""
        self.channel.call_at_arrival(None)
        self.abandon()
        self._express.mount.pool.discard(self)
        self.release()

    def _close(self) -> None:
        self.release()
        self._access.close(self._express.user_of)

    def go_on_in_a_task(self) -> None:
        express = self._express
        express.running.pop(self, None)
        self.channel.call_at_arrival(None)
        self._cycle.whole_body()  # also an empty one: what is received from now on is that the client leaves
        waited = monotonic() - self.began

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            mount = express.mount
            exchange = Exchange(mount.pool, mount.limits, scope, receive, send)
            await exchange.run(cast(WSGIApp, mount.app), self, waited)

        express.follow(self._cycle, self._access, answer)


def _raising(error: Exception) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app
