from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from elasticsearch import AsyncElasticsearch

from graft.mirroring import differences as module
from graft.mirroring.answers import Answer
from graft.mirroring.compare import Change, Difference
from graft.mirroring.differences import INDEX, KEPT, Differences, document_of
from graft.mirroring.mirror import Mirror, Mirrored
from graft.operations.switches import Switch
from graft.search.client import open_client
from graft.settings import Settings
from graft.switching.switchboard import Switchboard
from graft.types import RouteKey, Side
from tests.switching.asking import KEY, Counted, Told, ask, raises, says, scope_of, switched, until

OTHER = RouteKey("GET", "/other/{id:int}")
PLANTED = "s3cr3t-V4lue"


@pytest.fixture(params=["embedded", "real"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncElasticsearch]:
    real = request.getfixturevalue("real_elasticsearch") if request.param == "real" else None
    settings = Settings.load(data=tmp_path, elasticsearch_url=(real.url,) if real else ())
    async with open_client(settings) as client:
        patient = client.options(request_timeout=30)
        yield patient
        if real:
            await patient.indices.delete(index=INDEX, ignore_unavailable=True)


async def refreshed(client: AsyncElasticsearch) -> Differences:
    """The store as a reader sees it a second later."""
    await client.indices.refresh(index=INDEX, ignore_unavailable=True)
    return Differences(client)


def mirrored(number: int = 0, *, key: RouteKey = KEY, path: str = "a", **more: Any) -> Mirrored:
    native, legacy = (
        Answer(side, 200, ((b"content-type", b"application/json"),), f'{{"{path}": "{side} {number}"}}'.encode(), 1.5)
        for side in (Side.NATIVE, Side.LEGACY)
    )
    found = (Difference(("body", path), Change.CHANGED, f"native {number}", f"legacy {number}"),)
    whole = {
        "native": native,
        "legacy": legacy,
        "scope": scope_of(state={"request_id": f"id-{number}"}),
        "body": b"",
        "switch": Switch(),
        "differences": found,
    }
    return Mirrored(key, Side.LEGACY, **{**whole, **more})


async def test_a_difference_is_kept_with_everything_a_person_needs(client: AsyncElasticsearch) -> None:
    store = Differences(client)
    await store.keep(mirrored(7))
    await store.flush()
    [group] = await (await refreshed(client)).groups(KEY)
    assert (group.route, group.what, group.count) == (KEY, "body.a changed", 1)
    [detail] = group.newest
    assert detail["request_id"] == "id-7"
    assert detail["answered_by"] == "legacy"
    assert detail["differences"] == [
        {"where": "body.a", "change": "changed", "native": "native 7", "legacy": "legacy 7"}
    ]
    assert detail["request"] == {"method": "GET", "url": "/thing", "headers": [], "body": ""}
    assert detail["native"]["body"] == '{"a": "native 7"}'
    assert detail["legacy"] == {
        "status": 200,
        "headers": [["content-type", "application/json"]],
        "body": '{"a": "legacy 7"}',
        "latency_ms": 1.5,
        "error": None,
    }


async def test_differences_are_grouped_and_counted_the_most_frequent_first(client: AsyncElasticsearch) -> None:
    store = Differences(client)
    for number in range(6):
        await store.keep(mirrored(number, path="b" if number % 3 else "a"))
    await store.keep(mirrored(9, key=OTHER))
    await store.flush()
    assert [(str(group.route), group.what, group.count) for group in await (await refreshed(client)).groups()] == [
        ("GET /thing", "body.b changed", 4),
        ("GET /thing", "body.a changed", 2),
        ("GET /other/{id:int}", "body.a changed", 1),
    ]
    assert [group.count for group in await (await refreshed(client)).groups(OTHER)] == [1]
    newest = (await (await refreshed(client)).groups(KEY))[0].newest
    assert [detail["at"] for detail in newest] == sorted((detail["at"] for detail in newest), reverse=True)


async def test_the_newest_hundred_of_a_route_are_kept(
    client: AsyncElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(f"2025-01-01T00:00:{number // 10:02}.{number % 10}00+00:00" for number in range(1000))
    monkeypatch.setattr(module, "_now", lambda: next(times))
    store = Differences(client)
    for number in range(200):
        await store.keep(mirrored(number))
        if number % 10 == 9:
            await store.flush()
            await refreshed(client)
    await store.keep(mirrored(1, key=OTHER))
    await store.flush()
    [group] = await (await refreshed(client)).groups(KEY)
    assert 80 <= group.count <= KEPT
    assert group.newest[0]["request_id"] == "id-199"
    await refreshed(client)
    stored = await client.search(index=INDEX, query={"term": {"route": str(KEY)}}, size=500)
    assert len(stored["hits"]["hits"]) <= KEPT
    assert len(await (await refreshed(client)).groups(OTHER)) == 1


async def test_a_flood_of_differences_is_sampled(client: AsyncElasticsearch) -> None:
    store = Differences(client)
    for number in range(1000):
        await store.keep(mirrored(number))
    assert len(store._pending) == module.A_ROUND
    await store.flush()
    await store.keep(mirrored())
    assert len(store._pending) == 1


async def test_a_native_traceback_and_a_note_are_kept(client: AsyncElasticsearch) -> None:
    store = Differences(client)
    failed = Answer(Side.NATIVE, 500, (), b"", 3.0, f"Traceback\nValueError: password={PLANTED}")
    await store.keep(mirrored(native=failed))
    await store.keep(mirrored(note="not comparable: native tried to index into articles", differences=()))
    await store.flush()
    found = {group.what: group.newest[0] for group in await (await refreshed(client)).groups(KEY)}
    assert found["body.a changed"]["native"]["error"] == "Traceback\nValueError: password=[redacted]"
    assert "not comparable: native tried to index into articles" in found


async def test_learned_noise_is_kept_once(client: AsyncElasticsearch) -> None:
    store = Differences(client)
    for _ in range(2):
        await store.learned(KEY, frozenset({"body.took changed"}))
        await store.flush()
    assert (
        await (await refreshed(client)).noise()
        == await (await refreshed(client)).noise(KEY)
        == {KEY: ["body.took changed"]}
    )
    assert await (await refreshed(client)).noise(OTHER) == {}
    assert await (await refreshed(client)).groups() == []


async def test_an_empty_store_is_empty(client: AsyncElasticsearch) -> None:
    assert await (await refreshed(client)).groups() == []
    assert await (await refreshed(client)).noise() == {}
    await Differences(client).flush()


async def test_it_writes_by_itself_and_at_the_end(client: AsyncElasticsearch) -> None:
    async with Differences(client, every=0.01) as store:
        await store.keep(mirrored(1))
        await until(lambda: not store._pending)
        store._every = 60
        await store.keep(mirrored(2))
    assert [group.count for group in await (await refreshed(client)).groups()] == [2]


async def test_a_store_that_is_down_costs_a_line_in_the_log_and_later_writes_go_through(
    client: AsyncElasticsearch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "graft")
    down = AsyncElasticsearch("http://127.0.0.1:9", max_retries=0)
    async with down, Differences(down, every=0.005) as store:
        await store.keep(mirrored())
        await until(lambda: "can't be written now" in caplog.text)
        await store.learned(KEY, frozenset({"x"}))
        await store.flush()
        assert caplog.text.count("can't be written now") == 1
        store._client = client
        await store.flush()
        assert len(store._pending) == 0
    assert len(await (await refreshed(client)).groups()) == 1


async def test_the_last_write_is_given_up_if_the_store_hangs(
    client: AsyncElasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    async with Differences(client) as store:
        monkeypatch.setattr(store, "_make", anyio.sleep_forever)
        await store.keep(mirrored())


async def test_what_waits_for_a_store_that_is_down_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    down = AsyncElasticsearch("http://127.0.0.1:9", max_retries=0)
    monkeypatch.setattr(module, "PENDING", 5)
    async with down:
        store = Differences(down)
        for number in range(module.A_ROUND):
            await store.keep(mirrored(number, key=RouteKey("GET", f"/{number}")))
            await store.flush() if number == 3 else None
        assert len(store._pending) <= 500


async def test_an_unexpected_failure_neither_ends_the_writing_nor_reaches_the_mirror(
    client: AsyncElasticsearch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Differences(client, every=0.005) as store:
        await store.keep(mirrored(scope={}))
        assert "could not be kept" in caplog.text
        with monkeypatch.context() as patch:
            patch.setattr(store, "_make", raises(ZeroDivisionError()))
            await store.keep(mirrored())
            await until(lambda: "differences could not be written" in caplog.text)
        await until(lambda: not store._pending)


async def test_large_answers_are_cut_and_made_on_a_thread(client: AsyncElasticsearch) -> None:
    store = Differences(client)
    large = Answer(Side.NATIVE, 200, ((b"content-type", b"text/plain"),), b"x" * 50_000, 1.0)
    await store.keep(mirrored(native=large))
    await store.flush()
    [group] = await (await refreshed(client)).groups()
    assert group.newest[0]["native"]["body"].endswith("(50000 characters)")


async def test_no_planted_secret_is_in_the_store(client: AsyncElasticsearch, tmp_path: Path) -> None:
    """Whatever the two sides do with them: echo them, raise them, set them as cookies."""
    headers = {
        "authorization": f"Bearer {PLANTED}",
        "cookie": f"session={PLANTED}-cookie; theme={PLANTED}-theme",
        "x-api-key": f"{PLANTED}-key",
        "x-own": f"{PLANTED}-own",
        "content-type": "application/json",
    }
    body = json.dumps(
        {"user": "ada", "password": f"{PLANTED}-password", "deep": [{"token": f"{PLANTED}-token"}]}
    ).encode()

    def echo(name: str) -> Told:
        async def keep(request: Any) -> None:
            echoed.update({"headers": dict(request.headers), "body": (await request.body()).decode(), "from": name})

        echoed: dict[str, Any] = {}
        return Told(lambda: dict(echoed), before=keep)

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError(f"no user has {PLANTED}-cookie, password {PLANTED}-password and {PLANTED}")

    counted = Counted()
    async with Differences(client) as store, Mirror(recorder=counted, keeper=store) as mirror:
        for native, legacy in [
            (echo("native"), echo("legacy")),
            (broken, Told(1)),
            (says(1, headers={"set-cookie": f"session={PLANTED}-set"}), Told({"now": f"{PLANTED}-set"})),
        ]:
            board = Switchboard(KEY, native, legacy, mirror=mirror)
            board.follow(switched(mirror=100, redact=("x-own",)))
            before = counted["different"]
            scope = scope_of(headers=headers, query_string=f"q=1&access_token={PLANTED}-query".encode())
            await ask(board, scope, body)
            await until(lambda before=before: counted["different"] > before)
    await refreshed(client)
    stored = await client.search(index=INDEX, size=100)
    assert len(stored["hits"]["hits"]) == 3
    assert PLANTED not in json.dumps(stored.body)
    await client.close()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or PLANTED.encode() not in file.read_bytes()


def test_a_document_is_small_whatever_was_compared() -> None:
    many = tuple(Difference(("body", n), Change.CHANGED, "x" * 200, "y" * 200) for n in range(100))
    huge = Answer(Side.NATIVE, 200, ((b"a", b"b" * 60_000),), b"\x00" * 256_000, 1.0)
    assert len(json.dumps(document_of(mirrored(native=huge, legacy=huge, differences=many)))) < 200_000
