"""What a mirrored request tries to change reaches nobody, on either side; the same by a user's request works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify
from starlette.requests import Request
from starlette.responses import JSONResponse

from embedded_elasticsearch import connect
from graft.bridge.mount import LegacyMount
from graft.mirroring.fence import Kind
from graft.switching.switchboard import Switchboard
from graft.types import ASGIApp, Receive, Scope, Send
from tests.mirroring import deeds, services
from tests.mirroring.deeds import ASYNC, ASYNC_READS, READS, SYNC, Deed
from tests.mirroring.services import Services
from tests.mirroring.test_mirror import Desk
from tests.switching.asking import KEY, Told, ask, says, scope_of, switched, until

TIMES = 100


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with services.running(tmp_path_factory.mktemp("services")) as running:
        yield running
        deeds.close()


def native(deed: Deed, at: Services) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        done = deed.do(at)
        if done is not None:
            await done
        await JSONResponse("done")(scope, receive, send)

    return app


def legacy(deed: Deed, at: Services) -> Flask:
    app = Flask(__name__)

    @app.get("/thing")
    def thing() -> Any:
        deed.do(at)
        return jsonify("done")

    return app


@asynccontextmanager
async def legacy_board(app: Flask, answer: ASGIApp) -> AsyncIterator[tuple[Desk, Switchboard]]:
    """A route that ``answer`` answers, and that ``app`` is asked for as the mirror."""
    mount = LegacyMount(app, 2, queue=1000, name="mirror")
    try:
        async with Desk(answer, says("not asked")) as desk:
            board = Switchboard(KEY, answer, says("-"), legacy_mirror=mount, mirror=desk.mirror, recorder=desk.counted)
            board.follow(switched(share=100, mirror=100))
            yield desk, board
    finally:
        await mount.aclose()


async def mirrored(desk: Desk, board: Switchboard, times: int) -> None:
    for number in range(1, times + 1):
        assert (await ask(board)).json == "done"
        await until(partial(has_ended, desk, number))


def has_ended(desk: Desk, number: int) -> bool:
    return desk.counted["failed not comparable"] + desk.counted["matched"] >= number


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SYNC, *ASYNC])
async def test_a_mirrored_native_route_changes_nothing(name: str, at: Services) -> None:
    deed = {**SYNC, **ASYNC}[name]
    before = at.seen()
    async with Desk(native(deed, at), says("done")) as desk:
        await mirrored(desk, desk.board, TIMES)
    assert at.seen() == before
    assert desk.counted["failed not comparable"] == TIMES
    notes = {kept.note for kept in desk.kept.mirrored}
    assert all(note and note.startswith(f"not comparable: native tried to {deed.said}") for note in notes), notes


@pytest.mark.slow
@pytest.mark.parametrize("name", SYNC)
async def test_a_mirrored_legacy_view_changes_nothing(name: str, at: Services) -> None:
    deed, before = SYNC[name], at.seen()
    async with legacy_board(legacy(deed, at), says("done")) as (desk, board):
        await mirrored(desk, board, TIMES)
    assert at.seen() == before
    assert desk.counted["failed not comparable"] == TIMES
    notes = {kept.note for kept in desk.kept.mirrored}
    assert all(note and note.startswith(f"not comparable: legacy tried to {deed.said}") for note in notes), notes


@pytest.mark.slow
async def test_a_mirrored_route_searches_and_does_not_write_in_the_gateways_elasticsearch(tmp_path: Path) -> None:
    async with connect(tmp_path / "search.sqlite3") as client:
        await client.index(index="rows", document={"name": "kept"}, refresh=True)

        async def write(request: Request) -> None:
            found = await request.state.elasticsearch.search(index="rows")
            assert found["hits"]["total"]["value"] == 1
            await request.state.elasticsearch.index(index="rows", document={}, refresh=True)

        async with Desk(Told("done", before=write), says("done")) as desk:
            for number in range(1, TIMES + 1):
                await ask(desk.board, scope_of(state={"elasticsearch": client}))
                await until(partial(has_ended, desk, number))
        assert desk.counted["failed not comparable"] == TIMES
        assert {kept.note for kept in desk.kept.mirrored} == {"not comparable: native tried to index into rows"}
        assert (await client.count(index="rows"))["count"] == 1


async def test_the_first_request_to_the_gateways_elasticsearch_may_be_a_mirrored_one(tmp_path: Path) -> None:
    """It opens the file, and makes its tables."""
    async with connect(tmp_path / "search.sqlite3") as client:

        async def search(request: Request) -> None:
            await request.state.elasticsearch.indices.exists(index="rows")

        async with Desk(Told("done", before=search), says("done")) as desk:
            await ask(desk.board, scope_of(state={"elasticsearch": client}))
            await until(partial(has_ended, desk, 1))
        assert desk.counted["matched"] == 1, [kept.native.failure for kept in desk.kept.mirrored]


@pytest.mark.parametrize("name", [*READS, *ASYNC_READS])
async def test_what_a_mirrored_native_route_reads_is_compared(name: str, at: Services) -> None:
    deed = Deed({**READS, **ASYNC_READS}[name], "", "")
    async with Desk(native(deed, at), says("done")) as desk:
        await mirrored(desk, desk.board, 2)
    assert desk.counted["matched"] == 2, [kept.note for kept in desk.kept.mirrored]


@pytest.mark.parametrize("name", READS)
async def test_what_a_mirrored_legacy_view_reads_is_compared(name: str, at: Services) -> None:
    async with legacy_board(legacy(Deed(READS[name], "", ""), at), says("done")) as (desk, board):
        await mirrored(desk, board, 2)
    assert desk.counted["matched"] == 2, [kept.note for kept in desk.kept.mirrored]


@pytest.mark.parametrize("name", [*SYNC, *ASYNC])
async def test_the_same_of_a_user_is_done(name: str, at: Services) -> None:
    deed, before = {**SYNC, **ASYNC}[name], at.seen()
    async with Desk(native(deed, at), says("done"), settings={"share": 100.0, "mirror": 0.0}) as desk:
        assert (await ask(desk.board)).json == "done"
    assert at.seen() != before
    at.tidy()


@pytest.mark.parametrize("name", [*SYNC, *ASYNC])
async def test_a_kind_that_the_route_allows_is_done(name: str, at: Services) -> None:
    deed, before = {**SYNC, **ASYNC}[name], at.seen()
    allow = tuple(kind for kind in Kind if kind == deed.kind)
    async with Desk(native(deed, at), says("done"), settings={"allow": allow}) as desk:
        await mirrored(desk, desk.board, 1)
    assert desk.counted["matched"] == 1, [kept.note for kept in desk.kept.mirrored]
    assert at.seen() != before
    at.tidy()
