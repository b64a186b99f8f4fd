"""The workers of a host follow the fleet, and one of them asks for all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
import pytest

from graft.fleet.cluster import Cluster, Look
from graft.operations.shift import shift
from tests.fleet.hosts import A, Fleet

PATIENCE = 60.0


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.01)


async def test_every_worker_of_every_host_follows_and_one_of_each_host_asks(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    look = Cluster.look

    def counted(self: Cluster, *arguments: list[str]) -> Look:
        asked.append(id(self))
        return look(self, *arguments)

    monkeypatch.setattr(Cluster, "look", counted)
    workers = [fleet.host(name) for name in ("one", "one", "one", "two", "two")]
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(worker.follow()) for worker in workers]
        await anyio.to_thread.run_sync(lambda: shift(workers[1], A, 10, by="alice"))
        await until(lambda: all(each.switches.for_route(A).share == 10 for each in followers))
        assert len(set(asked)) == 2


async def test_when_the_worker_that_asks_ends_another_one_of_the_host_does(fleet: Fleet) -> None:
    first, second, elsewhere = fleet.host("one"), fleet.host("one"), fleet.host("two")
    async with AsyncExitStack() as stack:
        async with first.follow():
            follower = await stack.enter_async_context(second.follow())
            assert first.keeper.leads
            assert not second.keeper.leads
        await until(lambda: second.keeper.leads)
        await anyio.to_thread.run_sync(lambda: shift(elsewhere, A, 20, by="alice"))
        await until(lambda: follower.switches.for_route(A).share == 20)


async def test_a_worker_that_starts_has_what_was_decided_while_its_host_was_away(fleet: Fleet) -> None:
    one, two = fleet.host("one"), fleet.host("two")
    async with one.follow():
        await anyio.to_thread.run_sync(lambda: shift(one, A, 20, by="alice"))
    await anyio.to_thread.run_sync(lambda: shift(two, A, 60, by="bob"))
    async with fleet.host("one").follow() as follower:
        await until(lambda: follower.switches.for_route(A).share == 60)
