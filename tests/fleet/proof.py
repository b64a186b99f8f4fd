"""Five hosts on a cluster of three nodes while things go wrong: ``python -m tests.fleet.proof``.

Each host is a Gunicorn with a data folder of its own; two of them reach the cluster by ways that can be cut. Visitors
ask all of them all the time. Nobody's request is lost, all hosts converge, and the history has every change.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from graft.fleet.fleet_state import FleetState
from graft.operations.rollback import rollback
from graft.operations.shift import shift
from graft.types import RouteKey
from tests.fleet.gateways import KEY, PATIENCE, Visitors, host, served
from tests.fleet.hosts import Fleet, operations
from tests.fleet.link import Link, link
from tests.fleet.searching import searches
from tests.parts import wait_until
from tests.parts.elasticsearch import Elasticsearch, cluster

HOSTS = ("one", "two", "three", "four", "five")
APART = ("four", "five")
"""Those whose way to the cluster can be cut."""

AN_HOUR_BEHIND = """
import time
_now = time.time
time.time = lambda: _now() - 3600
"""


@dataclass
class World:
    """``people`` is how somebody on another machine sees the fleet."""

    fleet: Fleet
    nodes: list[Elasticsearch]
    links: list[Link]
    people: FleetState
    visitors: Visitors
    open: dict[str, ExitStack] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def start(self, name: str, **env: str) -> None:
        urls = self.links if name in APART else self.nodes
        stack = ExitStack()
        try:
            address = stack.enter_context(host(self.fleet, name, ",".join(one.url for one in urls), 1, **env))
        except BaseException:
            stack.close()
            raise
        self.open[name], self.addresses[name] = stack, address
        self.visitors.addresses |= {address}

    def stop(self, name: str) -> None:
        self.visitors.addresses -= {self.addresses.pop(name)}
        time.sleep(0.2)  # a visitor may be on its way to it
        self.open.pop(name).close()

    def served_by(self, side: str, *names: str) -> None:
        """Return when these hosts, or all, are at ``side``."""
        for name in names or tuple(self.addresses):
            address = self.addresses[name]
            wait_until(lambda address=address: served(address) == {side}, PATIENCE, f"host {name} to be {side}")  # type: ignore[misc]


@contextmanager
def world(nodes: list[Elasticsearch], folder: Path) -> Iterator[World]:
    """All five hosts, on the ``nodes`` of one cluster."""
    fleet = Fleet(",".join(node.url for node in nodes), folder)
    with ExitStack() as stack:
        links = [stack.enter_context(link(node.port)) for node in nodes]
        visitors = Visitors()
        made = World(fleet, nodes, links, fleet.host("people"), visitors)
        stack.callback(lambda: [each.close() for each in made.open.values()])
        with ThreadPoolExecutor(len(HOSTS)) as pool:
            list(pool.map(made.start, HOSTS))
        stack.enter_context(visitors)
        yield made


# What happens to it. Each begins and ends with all five hosts serving, and the cluster whole.


def flips(world: World, number: int) -> str:
    """The route goes to and fro, and every host follows each time."""
    for flip in range(number):
        shift(world.people, KEY, 100 if flip % 2 == 0 else 0, by="alice", why=f"flip {flip}")
        world.served_by("native" if flip % 2 == 0 else "legacy")
    told = [event.why for event in world.people.history(KEY)]
    assert all(f"flip {flip}" in told for flip in range(number)), told
    return f"{number} flips, followed by {len(HOSTS)} hosts"


def edits(world: World, number: int) -> str:
    """Operators on all hosts change routes at the same time: nobody's change is lost."""
    states = [world.fleet.host(name, world.fleet.url) for name in HOSTS]
    keys = [RouteKey("GET", f"/edited/{index}") for index in range(number)]

    def edit(index: int) -> None:
        shift(states[index % len(states)], keys[index], 1 + index % 99, by=f"operator {index}")

    with ThreadPoolExecutor(min(number, 20)) as pool:
        list(pool.map(edit, range(number)))
    switches = world.people.read()
    assert [switches.for_route(key).share for key in keys] == [1 + index % 99 for index in range(number)]
    history = operations(world.people)
    assert all(("shift", f"operator {index}") in history for index in range(number))
    return f"{number} edits of five hosts at once, none lost"


def a_node_dies(world: World) -> str:
    """One of three nodes is killed while the route is flipped, five clients search, and what they search is changed."""
    shift(world.people, KEY, 0, by="alice")
    world.served_by("legacy")
    with searches([node.url for node in world.nodes], 50) as searching:
        wait_until(lambda: searching.totals == {50}, PATIENCE, "searches to be answered")
        assert searching.missing() is None
        searching.change_index(1200)
        wait_until(lambda: 1200 in searching.totals, PATIENCE, "searches to find the new index")
        world.nodes[0].kill()
        try:
            began = time.monotonic()
            wait_until(lambda: shift(world.people, KEY, 100, by="alice", why="a node is dead"), PATIENCE, "a shift")
            world.served_by("native")
            took = time.monotonic() - began
            missing = searching.missing()
            assert missing is not None, "a search of two of three shards is told as one of all"
            assert missing.startswith("1 of 3 shards failed")
            wait_until(searching.delete_pieces, PATIENCE, "the index to go")
            searching.change_index(70)
            wait_until(lambda: 70 in searching.totals, PATIENCE, "searches to find the third index")
        finally:
            world.nodes[0].start()
    assert searching.failures == [], searching.failures[:5]
    assert searching.totals == {50, 1200, 70}
    shift(world.people, KEY, 0, by="alice", why="it is back")
    world.served_by("legacy")
    return (
        f"a node was killed: the next change was followed by all hosts in {took:.1f} s, "
        f"{searching.asked} searches were answered while their index was changed twice"
    )


def a_partition(world: World) -> str:
    """Two hosts can't reach the cluster: they go on, one is taken back alone, and then the newer decision holds."""
    shift(world.people, KEY, 100, by="alice", why="before the partition")
    world.served_by("native")
    for one in world.links:
        one.cut()
    try:
        shift(world.people, KEY, 0, by="alice", why="behind the partition")
        world.served_by("legacy", "one", "two", "three")
        assert served(world.addresses["four"]) == served(world.addresses["five"]) == {"native"}
        alone = world.fleet.of_this_host("four", ",".join(one.url for one in world.links))
        rollback(alone, KEY, by="bob", why="wrong totals")
        world.served_by("legacy", "four")
        shift(world.people, KEY, 100, by="alice", why="newer than bob's")
        world.served_by("native", "one", "two", "three")
        assert served(world.addresses["four"]) == {"legacy"}
    finally:
        for one in world.links:
            one.mend()
    world.served_by("native")
    wait_until(lambda: ("gave way", "bob") in operations(world.people), PATIENCE, "the history to have bob's too")
    return "two hosts were cut off, decided alone, and follow the newer decision; the other one is in the history"


def an_hour_away(world: World) -> str:
    """A host comes back with old state and a clock that is an hour behind."""
    shift(world.people, KEY, 100, by="alice", why="before it went")
    world.served_by("native")
    world.stop("three")
    for share in (50, 10, 0):
        shift(world.people, KEY, share, by="alice", why=f"while it was away, {share}")
    clock = world.fleet.folder / "an-hour-behind"
    clock.mkdir(exist_ok=True)
    (clock / "sitecustomize.py").write_text(AN_HOUR_BEHIND)
    world.start("three", PYTHONPATH=f"{clock}:{Path(__file__).resolve().parents[2]}")
    world.served_by("legacy")
    shift(world.people, KEY, 100, by="alice", why="it is back")
    world.served_by("native")
    return "a host was away, and came back with its clock an hour behind"


def a_rolling_update(world: World) -> str:
    """Host by host is stopped and started with another build."""
    for number, name in enumerate(HOSTS):
        world.stop(name)
        world.start(name, GRAFT_VERSION="next")
        share = 0 if number % 2 else 100
        shift(world.people, KEY, share, by="alice", why=f"update {number}")
        world.served_by("native" if share else "legacy")
    return "five hosts were updated one by one, with a flip after each"


def steps(flipped: int, edited: int) -> list[Callable[[World], str]]:
    return [
        lambda world: flips(world, flipped),
        lambda world: edits(world, edited),
        a_node_dies,
        a_partition,
        an_hour_away,
        a_rolling_update,
    ]


def prove(world: World, each: Sequence[Callable[[World], str]], tell: Callable[[str], None]) -> None:
    for step in each:
        began = time.monotonic()
        told = step(world)
        assert world.visitors.failures == [], f"{told}, but {world.visitors.failures[:5]}"
        tell(f"{told} ({time.monotonic() - began:.0f} s, {world.visitors.asked} requests so far, all answered)")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.proof", description=__doc__)
    parser.add_argument("--flips", type=int, default=40, metavar="N", help="times that the route goes to and fro (40)")
    parser.add_argument("--edits", type=int, default=100, metavar="N", help="changes at the same time (100)")
    options = parser.parse_args(words)
    print("three nodes and five hosts start", file=sys.stderr)
    with cluster() as nodes, tempfile.TemporaryDirectory() as folder, world(nodes, Path(folder)) as made:
        prove(made, steps(options.flips, options.edits), lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
