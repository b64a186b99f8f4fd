"""How soon a change is followed, and what looking costs a real node: ``python -m tests.fleet.measure``.

The figures stand in docs/fleet.md. Five hosts with three workers each follow, in this process, on one Elasticsearch.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from graft.fleet.fleet_state import FleetState
from graft.operations.shift import shift
from graft.operations.watcher import Watcher
from tests.fleet.hosts import A, Fleet
from tests.parts.elasticsearch import Elasticsearch, running

FLIPS = 40
LOOKS = 1000


async def following(fleet: Fleet) -> tuple[list[float], list[float]]:
    """Seconds from the call of a change until each worker follows: on the host where it was made, and on the others."""
    own: list[float] = []
    others: list[float] = []
    states = [(number, fleet.host(f"host{number}")) for number in range(5) for _ in range(3)]
    async with AsyncExitStack() as stack:
        followers: list[tuple[int, Watcher]] = []
        for number, state in states:
            followers.append((number, await stack.enter_async_context(state.follow())))
        for flip in range(1, FLIPS + 1):
            await asyncio.sleep(0.05 + (flip * 0.37) % 0.8)
            started = time.monotonic()
            shifts = asyncio.create_task(asyncio.to_thread(shift, states[0][1], A, flip, by="alice"))
            waiting = list(followers)
            while waiting:
                for one in list(waiting):
                    if one[1].switches.for_route(A).share == flip:
                        (own if one[0] == 0 else others).append(time.monotonic() - started)
                        waiting.remove(one)
                await asyncio.sleep(0.005)
            await shifts
    return own, others


def looking(fleet: Fleet, server: Elasticsearch) -> float:
    """Milliseconds of a node's CPU time for one look."""
    state: FleetState = fleet.host("host0")
    assert server.process is not None
    nodes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]

    def used() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in nodes if each.is_running())

    for _ in range(LOOKS):
        state.cluster.look(["promotion"])
    before = used()
    for _ in range(LOOKS):
        state.cluster.look(["promotion"])
    return 1000 * (used() - before) / LOOKS


def main() -> None:
    with running() as server, tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(server.url, Path(folder))
        own, others = asyncio.run(following(fleet))
        for name, seconds in (("the same host", sorted(own)), ("other hosts", sorted(others))):
            half, most = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
            print(f"{name}: median {half:.2f} s, p99 {most:.2f} s, longest {seconds[-1]:.2f} s of {len(seconds)}")
        print(f"a look costs a node {looking(fleet, server):.2f} ms of CPU time")


if __name__ == "__main__":
    main()
