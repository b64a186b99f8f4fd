"""Conversations, in a SQLite file that all workers share and that outlives them.

A turn is *open* from the question on, and *answered* when the answer has been sent and saved. When the reader leaves in
the middle, it is *left*: kept for ten minutes, so that a stream can be resumed, and told to nobody.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiosqlite

from async_routes.chat.topics import Topic

TURNS_KEPT = 200  # of each user
RESUMABLE = 600.0  # seconds
SAVING = 1.0  # seconds that a follow-up waits for the turn before it to be saved

_SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    at REAL NOT NULL, -- Unix time
    state TEXT NOT NULL,
    turn TEXT NOT NULL -- JSON
);
CREATE INDEX IF NOT EXISTS turns_by_user ON turns (user_id, at);
CREATE INDEX IF NOT EXISTS turns_by_state ON turns (state, at);
"""


class State(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    LEFT = "left"


@dataclass(frozen=True)
class Turn:
    """A question and its answer. ``events`` are those of its stream: ``[name, data]`` each."""

    user_id: str
    question: str
    topic: Topic
    id: str = field(default_factory=lambda: uuid4().hex)
    at: float = field(default_factory=time.time)
    state: State = State.OPEN
    answer: str = ""
    mode: str = ""
    note: str | None = None
    sources: tuple[dict[str, Any], ...] = ()
    events: tuple[tuple[str, dict[str, Any]], ...] = ()

    def told(self) -> dict[str, Any]:
        """``{"id", "question", "answer", "mode", "note", "sources"}``, as clients get it."""
        return {name: getattr(self, name) for name in ("id", "question", "answer", "mode", "note", "sources")}


class Conversations:
    """Each call opens the file for itself: nothing to close at shutdown, nothing that belongs to one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._prepared = False

    async def open_turn(self, turn: Turn) -> None:
        async with self._connection() as connection:
            stale = (State.ANSWERED, time.time() - RESUMABLE)
            await connection.execute("DELETE FROM turns WHERE state != ? AND at < ?", stale)
            await connection.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?)", _row(turn))

    async def answered(self, turn: Turn) -> None:
        """Keep it, unless the conversation was deleted meanwhile."""
        async with self._connection() as connection:
            await self._update(connection, replace(turn, state=State.ANSWERED))
            newest = "SELECT id FROM turns WHERE user_id = ? ORDER BY at DESC LIMIT ?"
            await connection.execute(
                f"DELETE FROM turns WHERE user_id = ? AND id NOT IN ({newest})",
                (turn.user_id, turn.user_id, TURNS_KEPT),
            )

    async def left(self, turn: Turn) -> None:
        async with self._connection() as connection:
            await self._update(connection, replace(turn, state=State.LEFT))

    async def resume(self, turn_id: str, user_id: str) -> Turn | None:
        """The turn, if it is known and not being answered elsewhere; one that was left is open again."""
        for last in (False, False, True):
            async with self._connection() as connection:
                query = "SELECT turn FROM turns WHERE id = ? AND user_id = ?"
                turns = [_turn(row) for row in await connection.execute_fetchall(query, (turn_id, user_id))]
                if turns and turns[0].state is State.LEFT:
                    await self._update(connection, replace(turns[0], state=State.OPEN))
            if not turns or turns[0].state is not State.OPEN or last:
                break
            await asyncio.sleep(SAVING / 2)  # the server may not have seen yet that the reader left
        return turns[0] if turns and turns[0].state is not State.OPEN else None

    async def history(self, user_id: str, without: str = "") -> list[Turn]:
        """The answered turns, oldest first, ``without`` the one of that id. One that is just being saved is waited
        for, shortly."""
        give_up = time.monotonic() + SAVING
        while True:
            async with self._connection() as connection:
                query = "SELECT turn FROM turns WHERE user_id = ? AND id != ? ORDER BY at"
                rows = await connection.execute_fetchall(query, (user_id, without))
            turns = [_turn(row) for row in rows]
            waits = turns and turns[-1].state is State.OPEN and time.time() - turns[-1].at < 60
            if not waits or time.monotonic() > give_up:
                return [turn for turn in turns if turn.state is State.ANSWERED]
            await asyncio.sleep(0.02)

    async def delete(self, user_id: str) -> int:
        """How many turns there were."""
        async with self._connection() as connection:
            told = "SELECT count(*) FROM turns WHERE user_id = ? AND state = ?"
            ((number,),) = await connection.execute_fetchall(told, (user_id, State.ANSWERED))
            await connection.execute("DELETE FROM turns WHERE user_id = ?", (user_id,))
        return int(number)

    async def _update(self, connection: aiosqlite.Connection, turn: Turn) -> None:
        turn_id, _, at, state, text = _row(turn)
        await connection.execute(
            "UPDATE turns SET at = ?, state = ?, turn = ? WHERE id = ?", (at, state, text, turn_id)
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosqlite.Connection]:
        """A transaction."""
        if not self._prepared:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        async with aiosqlite.connect(self._path, timeout=10) as connection:
            if not self._prepared:
                await connection.execute("PRAGMA journal_mode = WAL")
                await connection.executescript(_SCHEMA)
                self._prepared = True
            yield connection
            await connection.commit()


def _row(turn: Turn) -> tuple[str, str, float, str, str]:
    return turn.id, turn.user_id, turn.at, turn.state, json.dumps(asdict(turn))


def _turn(row: Any) -> Turn:
    told = json.loads(row[0])
    topic = Topic(*(tuple(told["topic"][name]) for name in ("words", "packages")))
    events = tuple((name, data) for name, data in told["events"])
    sources = tuple(told["sources"])
    return Turn(**{**told, "topic": topic, "state": State(told["state"]), "events": events, "sources": sources})
