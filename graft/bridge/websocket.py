"""One WebSocket of the WSGI app: its view runs in a thread of its own, with the client's socket in its environ.

The view is what speaks WebSocket, by a library of its own choice, as under Gunicorn's threads and Werkzeug's server. It
may also answer the handshake like any other request: with a page to log in, a 404.
"""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import time
from contextlib import suppress
from typing import Any

from graft.bridge.environ import Environ, build_environ
from graft.bridge.exchange import BrokenAnswer
from graft.bridge.limits import Limits
from graft.bridge.refused import Refused
from graft.bridge.response_head import ProtocolError
from graft.bridge.wsgi_call import WSGIApp, WSGICall
from graft.connection.client_socket import ClientSocket
from graft.connection.websocket import SOCKET
from graft.request_record import RequestRecord
from graft.threads.connection_threads import ConnectionThreads, ThreadsFull
from graft.threads.scheduler import Scheduler
from graft.threads.worker import current
from graft.types import Message, Receive, Scope, Send, Side

log = logging.getLogger("graft.legacy")

IN_ENVIRON = ("werkzeug.socket", "gunicorn.socket")
"""Where libraries look for the socket: simple-websocket in either, which Flask-Sock and Engine.IO go by."""

PATIENCE = 30.0
"""Seconds for a view to end when its connection is over: as long as Gunicorn waits for its threads."""


def handshake_request(scope: Scope) -> Scope:
    """The handshake of a WebSocket as the request that it is."""
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    return {"http_version": "1.1", **scope, "type": "http", "method": "GET", "scheme": scheme}


async def send_answer(scope: Scope, send: Send, message: Message) -> None:
    """``message`` belongs to an HTTP answer to the handshake of ``scope``, whose WebSocket is refused."""
    extensions = scope.get("extensions", {})
    if "websocket.http.response" in extensions:
        if SOCKET not in extensions and message["type"] == "http.response.start":
            # Other servers than Graft's own tell the length by themselves, when they have the body; some tell ours too.
            headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"content-length"]
            message = {**message, "headers": headers}
        await send({**message, "type": f"websocket.{message['type']}"})
    elif message["type"] == "http.response.start":
        await send({"type": "websocket.close", "code": 1000})  # a server that can only say 403


class WebSocketExchange:
    """From the handshake to the end of the view. All of it runs on the loop."""

    def __init__(self, threads: ConnectionThreads, limits: Limits, scope: Scope, receive: Receive, send: Send) -> None:
        self._threads = threads
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send

    async def run(self, app: WSGIApp, scheduler: Scheduler) -> None:
        """Raises BrokenAnswer when an HTTP answer fails after its first byte, and what ``send`` raises."""
        http = handshake_request(self._scope)
        record = RequestRecord.of(self._scope)
        if record.side is Side.NATIVE:
            record.side = Side.LEGACY
        try:
            self._threads.admit()
            await self._serve(app, http, scheduler, record)
        except ThreadsFull:
            log.warning("A handshake got 503: %d WebSockets are open, as many as may be", self._threads.open)
            busy = Refused(503, "websockets_full", "Too many WebSockets are open.", {"retry-after": "1"})
            await busy.answer(http, self._receive, self._send_http)
        except Refused as refused:
            await refused.answer(http, self._receive, self._send_http)

    async def _serve(self, app: WSGIApp, http: Scope, scheduler: Scheduler, record: RequestRecord) -> None:
        environ = build_environ(http)
        environ["wsgi.input"] = io.BytesIO()
        take = self._scope.get("extensions", {}).get(SOCKET)
        relay = None
        if take is not None:
            client: ClientSocket = await take()
        else:
            from graft.bridge.websocket_messages import MessageRelay

            relay = MessageRelay(self._scope, self._receive, self._send)
            client = await relay.open(environ)
        environ.update(dict.fromkeys(IN_ENVIRON, client))
        call = WebSocketCall(app, environ, scheduler, self._limits.window, client, record)
        try:
            self._threads.start(call.run)
            client.shared.on_over = call.end_soon
            if await self._is_answered_with_http(call):
                await self._send_answer(call)
            if not call.was_left:
                await call.channel.wait_for_app_close()
            if call.was_left:
                patience, place = PATIENCE, call.describe_thread()
                log.warning("%s goes on %g s after the end of its connection; %s", call.name, patience, place)
        except Refused:
            call.cancel()
            raise
        except BaseException:
            call.cancel()
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # the thread may wait in it
            raise
        finally:
            call.release()
            record.legacy_rule = call.rule
            if relay is not None:
                await relay.close()

    async def _is_answered_with_http(self, call: WebSocketCall) -> bool:
        """Wait for an answer of HTTP, or for the end of the view. Raises Refused."""
        channel, timeout = call.channel, self._limits.timeout
        try:
            async with asyncio.timeout(timeout):
                await channel.wait()
        except TimeoutError:
            if call.client.revoke():
                call.overdue = True
                log.error(
                    "%s (%s) gave no answer within %s s; %s", call.name, call.view, timeout, call.describe_thread()
                )
                message = f"The application gave no answer within {timeout:g} seconds."
                raise Refused(504, "legacy_timeout", message) from None
            await channel.wait()
        if call.client.shared.sent:
            channel.abandon()  # what libraries return when their WebSocket is over goes nowhere
            return False
        if channel.failure is not None:
            raise Refused(500, "legacy_error", "The application could not answer this request.")
        return True

    async def _send_answer(self, call: WebSocketCall) -> None:
        channel = call.channel
        assert channel.head is not None
        await self._send_http(channel.head)
        while True:
            ended = channel.ended  # looked at before the chunks: what was put before the end is found below
            part = channel.take()
            if ended and channel.failure is not None:
                raise BrokenAnswer(f"{call.name} broke off after its first byte: {channel.failure}")
            more = not ended or bool(channel.chunks)
            if part or not more:
                await self._send_http({"type": "http.response.body", "body": part, "more_body": more})
            if not more:
                return
            if not part:
                await channel.wait()

    async def _send_http(self, message: Message) -> None:
        await send_answer(self._scope, self._send, message)


class WebSocketCall(WSGICall):
    """The call of the WSGI app: a WebSocket as soon as it sends something through ``client``."""

    def __init__(
        self,
        app: WSGIApp,
        environ: Environ,
        scheduler: Scheduler,
        window: int,
        client: ClientSocket,
        record: RequestRecord,
    ) -> None:
        super().__init__(app, environ, scheduler, window, _nothing)
        self.client = client
        self._record = record
        self.was_left = False
        self._patience: asyncio.TimerHandle | None = None
        client.shared.on_first_send = self._accepted

    def run(self) -> None:
        current.job = self  # its thread has no other: what the app has of coroutines asks for it
        super().run()

    def _accepted(self) -> None:
        """(thread of the app) Flask's own request stands in the environ while its view runs, and has the rule."""
        self._record.accepted = time.perf_counter()
        self.rule = getattr(self.environ.get("werkzeug.request"), "url_rule", None)

    def end_soon(self) -> None:
        """The connection is over. (loop)"""
        self._patience = self.scheduler.loop.call_later(PATIENCE, self._leave_view)

    def _leave_view(self) -> None:
        """Its thread goes on, and counts until it ends; nobody waits for it any more, as a server that ends would."""
        self.was_left = True
        self.abandon()
        self.channel.leave_app()

    def release(self) -> None:
        super().release()
        self.client.shared.on_over = None
        if self._patience is not None:
            self._patience.cancel()

    def _failed(self, error: BaseException) -> str | None:
        if self.client.shared.sent and isinstance(error, (StopIteration, ConnectionError, ProtocolError)):
            # How libraries tell Gunicorn and Werkzeug's server that there is no answer any more; others give none.
            return None
        return super()._failed(error)

    @property
    def name(self) -> str:
        return f"WebSocket {self.environ['SCRIPT_NAME']}{self.environ['PATH_INFO']}"


def _nothing() -> Any:
    """It has its thread already, and waits for none."""
