"""Hosts wait for the next change, and ask again and again only where they can't."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from graft.fleet import rests
from graft.fleet.cluster import KEPT_PAST, Cluster, Look
from graft.fleet.fleet_state import FleetState
from graft.fleet.indices import past
from graft.fleet.waiting import MOST_FAILURES, Waiting
from graft.operations.rollback import rollback
from graft.operations.shift import shift
from tests.fleet.hosts import A, B, Clock, Fleet, gateway
from tests.fleet.link import link
from tests.parts.elasticsearch import Elasticsearch

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def no_chance_to_find_it_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not woken looks after half an hour only."""
    monkeypatch.setattr(rests, "SHORTEST_WAIT", 1800.0)
    monkeypatch.setattr(rests, "LONGEST_WAIT", 1800.0)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.01)


def newest_alias(state: FleetState) -> str:
    known = state.last_known.read()
    return past(state.cluster.name, known.id, known.revision)


async def test_a_host_that_waits_follows_each_change_without_looking(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    look = Cluster.look

    def counted(self: Cluster, *arguments: list[str]) -> Look:
        looks.append(id(self))
        return look(self, *arguments)

    people, one = fleet.host("people"), fleet.host("one")
    await asyncio.to_thread(shift, people, A, 1, by="alice")
    async with one.follow() as follower:
        await until(lambda: one.keeper.waits)
        monkeypatch.setattr(Cluster, "look", counted)
        for number in range(2, 7):
            await asyncio.to_thread(shift, people, A, number, by="alice")
            await until(lambda: follower.switches.for_route(A).share == number)  # noqa: B023
            await until(lambda: one.keeper.waits)
    assert looks == []


async def test_a_change_before_the_wait_began_ends_it_at_once(fleet: Fleet) -> None:
    one = gateway(fleet.host("one"))
    known = newest_alias(one)
    for number in range(1, KEPT_PAST):
        await asyncio.to_thread(shift, fleet.host("people"), A, number, by="alice")
    waiting = Waiting(one.cluster)
    assert await waiting.until(known, 1800.0)
    await waiting.close()


async def test_changes_of_another_fleet_wake_nobody_and_the_time_ends(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    other = Fleet(fleet.url, tmp_path / "theirs")
    one = gateway(fleet.host("one"))
    waiting = Waiting(one.cluster)
    waits = asyncio.create_task(waiting.until(newest_alias(one), 1.0))
    await asyncio.to_thread(shift, other.host("people"), A, 1, by="bob")
    assert not await waits
    assert waiting.works
    await waiting.close()


def test_a_writer_that_was_overtaken_leaves_the_alias_of_the_later_one(fleet: Fleet) -> None:
    one = gateway(fleet.host("one"))
    shift(one, A, 1, by="alice")
    earlier = one.cluster.read()
    assert earlier is not None
    newest = 4 * KEPT_PAST
    for revision in range(earlier.revision, newest + 1, KEPT_PAST // 2 - 1):  # the others had no time to
        one.cluster.wake(replace(earlier, revision=revision))
    one.cluster.wake(replace(earlier, revision=newest))
    one.cluster.wake(earlier)
    there = set(one.cluster.client().indices.get_alias(index="graft-fleet-switches")["graft-fleet-switches"]["aliases"])
    own = {name for name in there if name.startswith(f"graft-fleet-past.{fleet.name}.")}
    assert past(fleet.name, earlier.id, newest - 1) in own
    assert past(fleet.name, earlier.id, newest) not in own
    assert len(own) <= KEPT_PAST + 1  # that of before goes with a later change


async def test_what_is_decided_on_this_host_ends_the_wait(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    people, one = fleet.host("people"), fleet.host("one")
    await asyncio.to_thread(shift, people, A, 30, by="alice")
    apart = fleet.of_this_host("one")
    async with one.follow():
        await until(lambda: one.keeper.waits)
        monkeypatch.setattr(apart, "send_decisions", lambda: None)  # the command could not reach the cluster
        await asyncio.to_thread(rollback, apart, A, by="bob")
        await until(lambda: people.cluster.read().text.count("share = 30") == 0)  # type: ignore[union-attr]


async def test_where_the_way_is_cut_and_mended_it_waits_again(fleet: Fleet, real_elasticsearch: Elasticsearch) -> None:
    people = fleet.host("people")
    await asyncio.to_thread(shift, people, A, 1, by="alice")
    with link(real_elasticsearch.port) as way:
        one = fleet.host("one", way.url)
        async with one.follow() as follower:
            await until(lambda: one.keeper.waits)
            await asyncio.to_thread(way.cut)
            await until(lambda: one.keeper.problem is not None)
            await asyncio.to_thread(shift, people, A, 2, by="alice")
            await asyncio.to_thread(way.mend)
            await until(lambda: follower.switches.for_route(A).share == 2)
            await until(lambda: one.keeper.waits)
            await asyncio.to_thread(shift, people, A, 3, by="alice")
            await until(lambda: follower.switches.for_route(A).share == 3)


async def test_who_may_not_wake_others_asks_as_before_and_says_so_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Cluster, "may_wake", lambda _: False)
    people, one = fleet.host("people"), fleet.host("one")
    await asyncio.to_thread(shift, people, A, 1, by="alice")
    async with one.follow() as follower:
        for number in (2, 3):
            await asyncio.to_thread(shift, people, A, number, by="alice")
            await until(lambda: follower.switches.for_route(A).share == number)  # noqa: B023
        assert not one.keeper.waits
    assert caplog.text.count("lets nobody wake the hosts that wait") == 1


async def test_what_an_older_graft_has_written_is_not_waited_for(fleet: Fleet) -> None:
    people, one = fleet.host("people"), fleet.host("one")
    await asyncio.to_thread(shift, people, A, 1, by="alice")
    before = await asyncio.to_thread(people.cluster.read)
    assert before is not None
    text = before.text.replace("share = 1", "share = 2")
    await asyncio.to_thread(people.cluster.write, before.next(text, (), (), {}))  # it wakes nobody
    async with one.follow() as follower:
        await until(lambda: follower.switches.for_route(A).share == 2)
        await asyncio.to_thread(shift, people, B, 1, by="alice")
        await until(lambda: follower.switches.for_route(B).share == 1)
        await until(lambda: one.keeper.waits)


async def _hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A proxy that has no patience."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A connection of which only this end is left."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize(("serve", "told"), [(_hasty, "504"), (_silent, "can't be reached")])
async def test_a_wait_that_fails_again_and_again_is_left_alone_for_a_while(
    fleet: Fleet,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None],
    told: str,
) -> None:
    monkeypatch.setattr("graft.fleet.waiting.GRACE_SECONDS", 0.1)
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        waiting = Waiting(fleet.host("one", f"http://127.0.0.1:{port}").cluster, clock)
        stack.push_async_callback(waiting.close)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                for number in range(MOST_FAILURES):
                    assert waiting.works, number
                    assert not await waiting.until("graft-fleet-past.shop.0.1", 0.2)
                assert not waiting.works
                clock.seconds += 120.0
    assert waiting.works
    assert caplog.text.count("can't be waited for") == 1
    assert told in caplog.text


def test_a_wait_lasts_longer_the_more_hosts_there_are(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rests, "SHORTEST_WAIT", 5.0)
    monkeypatch.setattr(rests, "LONGEST_WAIT", 30.0)
    one = gateway(fleet.host("one"))
    shift(one, A, 1, by="alice")
    for hosts, longest in ((1, 5.0), (100, 15.0), (200, 30.0), (1000, 30.0)):
        monkeypatch.setattr(one.cluster, "count_servers", lambda hosts=hosts: hosts)
        one.keeper.rests._count_at = 0.0
        rest = one.keeper.look()
        assert rest.alias == newest_alias(one)
        assert 0.8 * longest <= rest.seconds <= longest
