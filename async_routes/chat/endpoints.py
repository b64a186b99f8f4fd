"""The chat's addresses: questions, streams, conversations, and a page to ask from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from async_routes.chat import passages as documentation
from async_routes.chat.answering import Answer, Event, answering
from async_routes.chat.asked import Asked, BadQuestion, user_id_of
from async_routes.chat.conversations import Conversations, State, Turn
from async_routes.chat.model import Model
from async_routes.chat.passages import Passage
from async_routes.chat.settings import ChatSettings
from async_routes.chat.topics import Topic
from legacy_flask.hooks import SECURITY_HEADERS

T = TypeVar("T")
KEEP_ALIVE = 15  # seconds between comments on a silent stream, below the timeouts of usual proxies
STATIC = Path(__file__).parent / "static"
NO_STORE = {"Cache-Control": "no-store"}


def refusing(endpoint: Callable[[Any, Request], Awaitable[Response]]) -> Callable[[Any, Request], Awaitable[Response]]:
    """Answers 400 (or 413) in the error shape where the question can't be read."""

    @wraps(endpoint)
    async def guarded(self: Any, request: Request) -> Response:
        try:
            return await endpoint(self, request)
        except BadQuestion as problem:
            request_id = getattr(request.state, "request_id", None)
            error = {"code": problem.code, "message": str(problem), "request_id": request_id}
            return JSONResponse({"error": error}, problem.status)

    return guarded


@dataclass
class Exchange:
    """One question on its way to an answer."""

    turn: Turn
    passages: list[Passage]
    history: list[Turn]
    answer: Answer

    def result(self) -> Turn:
        """The turn with what came together so far."""
        answer = self.answer
        return replace(
            self.turn,
            answer=answer.text,
            mode=answer.mode,
            note=answer.note,
            sources=answer.sources,
            events=tuple(answer.events),
        )


class Chat:
    """``routes`` are what it serves."""

    def __init__(self, settings: ChatSettings, keep_alive: float = KEEP_ALIVE) -> None:
        self.conversations = Conversations(settings.data / "chat.sqlite3")
        self.model = Model(settings) if settings.has_model else None
        self._keep_alive = keep_alive
        self._saving: set[asyncio.Task[None]] = set()
        self.routes = [
            Route("/chat", self.page),
            Mount("/chat/static", StaticFiles(directory=STATIC), name="chat-static"),
            Route("/api/chat", self.ask, methods=["POST"]),
            Route("/api/chat/stream", self.stream, methods=["POST"]),
            Route("/api/chat/{user_id}", self.listing, methods=["GET"]),
            Route("/api/chat/{user_id}", self.delete, methods=["DELETE"]),
        ]

    async def page(self, request: Request) -> Response:
        prefix = _prefix(request)
        addresses = {"static": f"{prefix}/chat/static", "api": f"{prefix}/api/chat"}
        has_model = self.model is not None
        page: Response = await request.state.legacy.render(request, "chat.html", **addresses, has_model=has_model)
        page.headers.update(SECURITY_HEADERS)
        return page

    @refusing
    async def ask(self, request: Request) -> Response:
        """``{"user_id", "question"}`` -> the turn: ``{"id", "question", "answer", "mode", "note", "sources"}``."""
        asked = await Asked.read(request)
        exchange = await unless_left(request, self._answered(request, asked))
        if exchange is None:
            return Response(status_code=499)  # nobody reads it; the status is for the log
        turn = exchange.result()
        save = BackgroundTask(self.conversations.answered, turn)
        return JSONResponse(turn.told(), headers=NO_STORE, background=save)

    async def _answered(self, request: Request, asked: Asked) -> Exchange:
        exchange = await self._begin(request, asked)
        async with aclosing(self._events(exchange)) as events:
            async for _ in events:
                pass
        return exchange

    @refusing
    async def stream(self, request: Request) -> Response:
        """The same as server-sent events: ``sources``, ``token``, ``replace`` and at last ``done`` with the turn.

        With ``Last-Event-ID`` and the same question it goes on behind that event. ``replace`` says that the words so
        far are void, and why.
        """
        asked = await Asked.read(request)
        exchange, sent = await self._resumed(request, asked) or (await self._begin(request, asked), 0)
        headers = {**NO_STORE, "X-Accel-Buffering": "no"}
        return EventSourceResponse(self._told(exchange, sent), ping=int(self._keep_alive) or 1, headers=headers)

    async def _begin(self, request: Request, asked: Asked) -> Exchange:
        client = request.state.elasticsearch
        history = await self.conversations.history(asked.user_id)
        before = history[-1].topic if history else None
        topic = Topic.of(asked.question, await documentation.packages(client), before)
        turn = Turn(asked.user_id, asked.question, topic)
        found = await documentation.find(client, topic, _prefix(request))
        await self.conversations.open_turn(turn)
        return Exchange(turn, found, history, Answer())

    async def _resumed(self, request: Request, asked: Asked) -> tuple[Exchange, int] | None:
        """A stream that was left, and how many of its events its reader has."""
        turn_id, _, number = request.headers.get("last-event-id", "").partition(":")
        if not number.isdecimal() or len(number) > 9:
            return None
        turn = await self.conversations.resume(turn_id, asked.user_id)
        if turn is None or turn.question != asked.question:
            return None
        found = await documentation.find(request.state.elasticsearch, turn.topic, _prefix(request))
        history = await self.conversations.history(asked.user_id, without=turn_id)
        return Exchange(turn, found, history, Answer.of(turn.events)), int(number) + 1

    async def _events(self, exchange: Exchange) -> AsyncGenerator[Event, None]:
        """What is still to be said, added to the answer as it goes."""
        asking = answering(exchange.turn.question, exchange.passages, exchange.history, self.model, exchange.answer)
        async with aclosing(asking) as events:
            async for event in events:
                exchange.answer.add(event)
                yield event

    async def _told(self, exchange: Exchange, sent: int) -> AsyncGenerator[ServerSentEvent, None]:
        """The stream from event number ``sent`` on. Its turn is saved when the last event is on its way, or left."""
        turn_id = exchange.turn.id
        number, complete = 0, False
        try:
            for number, (name, data) in enumerate(exchange.answer.events, 1):
                if number > sent:
                    yield _event(turn_id, number - 1, name, data)
            if exchange.turn.state is not State.ANSWERED:
                async with aclosing(self._events(exchange)) as events:
                    async for name, data in events:
                        number += 1
                        if number > sent:
                            yield _event(turn_id, number - 1, name, data)
            complete = True
            yield _event(turn_id, number, "done", exchange.result().told())
        finally:
            save = self.conversations.answered if complete else self.conversations.left
            self._later(save(exchange.result()))

    def _later(self, saving: Coroutine[Any, Any, None]) -> None:
        """In a task of its own: the one that streams may be cancelled."""
        task = asyncio.ensure_future(saving)
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    @refusing
    async def listing(self, request: Request) -> Response:
        """``{"user_id", "turns": [turn, ...]}``, oldest first."""
        user_id = user_id_of(request.path_params["user_id"])
        turns = [turn.told() for turn in await self.conversations.history(user_id)]
        return JSONResponse({"user_id": user_id, "turns": turns}, headers=NO_STORE)

    @refusing
    async def delete(self, request: Request) -> Response:
        """Forget the conversation: ``{"user_id", "deleted": number of turns}``."""
        user_id = user_id_of(request.path_params["user_id"])
        return JSONResponse({"user_id": user_id, "deleted": await self.conversations.delete(user_id)})


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of ``work``; None, and the work cancelled, when the client leaves before it is done."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(turn_id: str, number: int, name: str, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data), event=name, id=f"{turn_id}:{number}")


def _prefix(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


routes = Chat(ChatSettings()).routes
